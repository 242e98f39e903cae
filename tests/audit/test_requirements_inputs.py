"""Requirements files are read as pip reads them, and what is left out of them is told."""

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.findings import Fault, Level
from proxy.audit.inputs import read_order
from proxy.audit.wanted import Omission, Order, Unreadable
from proxy.core.errors import MirrormendError
from tests.audit.conftest import Audit, Check
from tests.clients import Pip
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

URL = "https://mirror.example.com/simple/"
Files = dict[str, str | bytes]

FILES: dict[str, Files] = {
    "UTF-16 with a mark": {"r.txt": codecs.BOM_UTF16_LE + "alpha\nbeta==1.0\n".encode("utf-16-le")},
    "UTF-16 of the other end": {"r.txt": codecs.BOM_UTF16_BE + "alpha\n".encode("utf-16-be")},
    "UTF-32 of the other end": {"r.txt": codecs.BOM_UTF32_BE + "alpha\n".encode("utf-32-be")},
    "UTF-8 with a mark": {"r.txt": codecs.BOM_UTF8 + b"alpha\n"},
    "a coding comment": {"r.txt": "# -*- coding: latin-1 -*-\n# \xe9\nalpha\n".encode("latin-1")},
    "a coding comment on line 2": {"r.txt": "# x\n# vim: set fileencoding=latin-1 :\n# \xe9\nalpha\n".encode("latin-1")},
    "a coding comment on line 3": {"r.txt": "# x\n#\n# coding=latin-1\n# \xe9\nalpha\n".encode("latin-1")},
    "a coding comment behind a requirement": {"r.txt": "alpha # coding: utf-16\n"},
    "an encoding that nobody knows": {"r.txt": "# coding: nonsense\nalpha\n"},
    "an encoding that is none of text": {"r.txt": "# coding: base64\nalpha\n"},
    "another encoding than the comment says": {"r.txt": "# coding: utf-16\nalpha\n"},
    "no text": {"r.txt": b"alpha\x00\n"},
    "a quoted name": {"r.txt": '-r "a b.txt"\n', "a b.txt": "alpha\n"},
    "a name with a blank": {"r.txt": "-r a b.txt\n", "a b.txt": "alpha\n", "a": "beta\n"},
    "a name with a backslash": {"r.txt": "-r a\\ b.txt\n", "a b.txt": "alpha\n"},
    "a short option without a blank": {"r.txt": "-ra.txt\n", "a.txt": "alpha\n"},
    "a short option with a sign": {"r.txt": "-r=a.txt\n", "a.txt": "alpha\n"},
    "a long option with a sign": {"r.txt": "--requirement='a b.txt'\n", "a b.txt": "alpha\n"},
    "two files on a line": {"r.txt": "-r a.txt -r b.txt\n", "a.txt": "alpha\n", "b.txt": "beta\n"},
    "a file and constraints on a line": {"r.txt": "-r a.txt -c b.txt\n", "a.txt": "alpha\n", "b.txt": "alpha==1.0\n"},
    "a requirement and a file": {"r.txt": "alpha -r b.txt\n", "b.txt": "beta\n"},
    "a file beside the one that names it": {"r.txt": "-r d/a.txt\n", "d/a.txt": "-r b.txt\n", "d/b.txt": "alpha\n"},
    "a file that is not there": {"r.txt": "-r nope.txt\nalpha\n"},
    "a file that names itself": {"r.txt": "alpha\n-r r.txt\n"},
    "a file twice": {"r.txt": "-r a.txt\n-r a.txt\n", "a.txt": "alpha\n"},
    "a file by URL": {"r.txt": "-r file://@here@/a.txt\n", "a.txt": "alpha\n"},
    "constraints": {"r.txt": "-c c.txt\nalpha\n", "c.txt": "alpha==1.0\nbeta==1.0\n"},
    "constraints below": {"r.txt": "alpha\n-c 'c c.txt'\n", "c c.txt": "alpha==1.0\n"},
    "constraints for other platforms": {"r.txt": "-c c.txt\nalpha\n", "c.txt": "alpha==1.0; sys_platform=='win32'\n"},
    "requirements in constraints": {"r.txt": "alpha\n-c c.txt\n", "c.txt": "-r b.txt\n", "b.txt": "alpha==1.0\nbeta\n"},
    "constraints in requirements": {"r.txt": "-r a.txt\n", "a.txt": "-c c.txt\nalpha\n", "c.txt": "alpha==1.0\n"},
    "a variable": {"r.txt": "${SOME_NAME}\n"},
    "a variable in a file's name": {"r.txt": "-r ${SOME_NAME}.txt\n", "alpha.txt": "beta\n"},
    "a variable in small letters": {"r.txt": "${some_name}\n"},
    "a variable without a value": {"r.txt": "alpha==${NO_SUCH_NAME}\n"},
    "a variable of the shell": {"r.txt": "$SOME_NAME\n"},
    "a comment": {"r.txt": "alpha #x\n"},
    "a comment without a blank": {"r.txt": "alpha#x\n"},
    "a continued line": {"r.txt": "al\\\npha==1.0\n"},
    "a comment between": {"r.txt": "alpha \\\n# comment\n==1.0\n"},
    "a comment with a backslash": {"r.txt": "# a comment \\\nalpha\n"},
    "a comment that goes on": {"r.txt": "alpha # a comment \\\nbeta\n"},
    "a backslash at the end": {"r.txt": "alpha\\"},
    "options of a requirement": {"r.txt": "alpha --config-settings=a=b\nbeta -C a=b\n"},
    "an option before a requirement": {"r.txt": "--pre alpha\nbeta\n"},
    "options": {"r.txt": "--pre\n--prefer-binary\n--only-binary :all:\n--trusted-host x\nalpha\n"},
    "a folder of that name": {"r.txt": "alpha\n", "alpha/setup.py": "raise SystemExit(3)"},
    "brackets": {"r.txt": "alpha (==1.0)\n"},
    "odd ends of lines": {"r.txt": "alpha\x0cbeta\u2028gamma\rdelta\r\n"},
    "blanks before": {"r.txt": "   alpha\n\t-r a.txt\n", "a.txt": "beta\n"},
    "any of a version": {"r.txt": "alpha==1.*\n"},
    "exactly a version": {"r.txt": "alpha===1.0\n"},
    "one sign": {"r.txt": "alpha=1.0\n"},
    "a quotation mark alone": {"r.txt": "-r 'a.txt\n"},
    "a quotation mark alone behind a requirement": {"r.txt": "alpha --hash='x\n"},
    "a tab before an option": {"r.txt": "alpha==1.0\t--config-settings=a=b\n"},
    "two releases of one project": {"r.txt": "alpha==1.0\nalpha==2.0\n"},
    "two releases of one project, by constraints": {"r.txt": "alpha==1.0\n-r a.txt\n", "a.txt": "Alpha===2.0\n"},
    "a release twice": {"r.txt": "alpha==1.0\nalpha==1.0,>=1\nalpha>=1\n"},
    "two releases of one platform": {"r.txt": "alpha==1.0; sys_platform == 'linux'\nalpha==2.0; sys_platform == 'linux'\n"},
    "a hash of no use": {"r.txt": "alpha==1.0 --hash=md5:00\n"},
    "a requirement twice": {"r.txt": "alpha==1.0\nalpha==1.0\n"},
}
"""As they are in folders; names of files to what is in them."""


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace("@here@", str(folder)).encode() if isinstance(content, str) else content)
    return folder / "r.txt"


def read(path: Path) -> Order:
    return read_order([], [], [path], URL)


def told(found: Order) -> list[tuple[Omission, str]]:
    return [(each.omission, each.text) for source in found.sources for each in source.left_out]


def wanted(found: Order) -> set[tuple[str, str]]:
    """The projects, with the release that is pinned."""
    return {(want.project, pin.version) for want in found.wants for pin in want.pins} | {
        (want.project, "") for want in found.wants if not want.pins
    }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two releases of four projects."""
    folder = tmp_path_factory.mktemp("house")
    for name in ("alpha", "beta", "gamma", "delta"):
        for version in ("1.0", "2.0"):
            wheel = f"{name}-{version}-py3-none-any.whl"
            (folder / wheel).write_bytes(make_wheel(wheel))
    return folder


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Pip:
    return Pip(tmp_path_factory.mktemp("pip"))


@pytest.mark.parametrize("name", FILES)
async def test_a_file_names_what_the_real_pip_would_install(
    name: str, house: Path, pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, FILES[name])
    monkeypatch.setenv("SOME_NAME", "alpha")
    monkeypatch.setenv("some_name", "alpha")
    pip.environment |= {"SOME_NAME": "alpha", "some_name": "alpha"}
    report = tmp_path / "report.json"
    options = ("--dry-run", "--ignore-installed", "--no-deps", "--no-index", "--find-links", str(house), "--report", str(report))
    done = await pip.run("install", "-q", *options, "-r", str(path))
    if not done.ok:
        with pytest.raises(Unreadable):
            read(path)
        return
    chosen = {each["metadata"]["name"]: each["metadata"]["version"] for each in json.loads(report.read_text())["install"]}
    found = wanted(read(path))
    assert {project for project, _ in found} == set(chosen)
    assert all(chosen[project] == version for project, version in found if version)
    # Whatever is no newest release was pinned by something.
    pinned = {project for project, version in found if version}
    assert {project for project, version in chosen.items() if version == "1.0"} - pinned <= ({"alpha"} if "any" in name else set())


LINES: dict[str, tuple[str, Omission, str]] = {
    "by URL": ("https://files.example.com/x-1.0.tar.gz", Omission.URL, "x"),
    "by URL with a name": ("Direct_1 @ https://user:s3cret@files.example.com/d.tar.gz?token=s3cret", Omission.URL, "direct-1"),
    "by URL with a name and no blanks": ("direct@https://files.example.com/d.tar.gz ; python_version>'3'", Omission.URL, "direct"),
    "by URL with extras": ("direct[x,y] @ https://files.example.com/d.tar.gz --hash=sha256:aa", Omission.URL, "direct"),
    "of Git": ("git+https://user:s3cret@git.example.com/a/b.git@main#egg=corp", Omission.GIT, "corp"),
    "of Git with a name": ("corp @ git+ssh://git@git.example.com/a/b.git", Omission.GIT, "corp"),
    "of Git without a name": ("git+https://user:s3cret@git.example.com/a/b.git", Omission.GIT, "git+https://git.example.com/a/b.git"),
    "of Mercurial": ("hg+https://hg.example.com/a#egg=corp", Omission.URL, "corp"),
    "a file": ("foo.zip", Omission.PATH, "foo.zip"),
    "another kind of file": ("foo-1.0.tar.bz2", Omission.PATH, "foo-1.0.tar.bz2"),
    "a wheel": ("./w/foo_bar-1.0-py3-none-any.whl[x] ; python_version > '3'", Omission.PATH, "foo-bar"),
    "a path": ("./local", Omission.PATH, "./local"),
    "a path above": ("../local[x]", Omission.PATH, "../local[x]"),
    "a path below": ("sub/local", Omission.PATH, "sub/local"),
    "a path of uv": ("local @ ./local", Omission.PATH, "local"),
    "a path as URL": ("file:///srv/local", Omission.PATH, "file:///srv/local"),
    "editable": ("-e ./nosuch", Omission.EDITABLE, "-e ./nosuch"),
    "editable of Git": ("--editable=git+https://s3cret@git.example.com/b#egg=corp", Omission.EDITABLE, "corp"),
}


@pytest.mark.parametrize("name", LINES)
def test_what_comes_from_elsewhere_is_counted_and_told_without_credentials(name: str, tmp_path: Path) -> None:
    line, omission, text = LINES[name]
    found = read(write(tmp_path, {"r.txt": f"demo\n{line}\n"}))
    assert [want.project for want in found.wants] == ["demo"]
    assert told(found) == [(omission, text)]
    (source,) = found.sources
    assert source.left_out[0].place is not None
    assert (source.elsewhere, source.left_out[0].place.line, source.incomplete) == (1, 2, ())
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("name", LINES)
def test_a_file_of_which_all_comes_from_elsewhere_is_not_sound(name: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="nothing of it comes from the mirror"):
        read(write(tmp_path, {"r.txt": f"{LINES[name][0]}\n"}))


@pytest.mark.parametrize(
    "line", ["direct @ https://files.example.com/direct-1.zip", "./direct-1.0.tar.gz", "-e git+https://x.example.com/d#egg=direct"]
)
def test_a_project_that_a_line_binds_elsewhere_is_not_asked_about_for_another(line: str, tmp_path: Path) -> None:
    found = read(write(tmp_path, {"r.txt": f"demo\n{line}\ndirect>=1\n"}))
    assert [want.project for want in found.wants] == ["demo"]
    assert "direct" in found.withheld
    assert found.sources[0].elsewhere == 1


def test_constraints_bind_a_project_elsewhere_where_it_is_required(tmp_path: Path) -> None:
    constraints = "direct @ https://files.example.com/direct-1.zip\nother @ https://files.example.com/other-1.zip\n"
    found = read(write(tmp_path, {"r.txt": "demo\ndirect\n-c c.txt\n", "c.txt": constraints}))
    assert ([want.project for want in found.wants], told(found)) == (["demo"], [(Omission.URL, "direct")])


@pytest.mark.parametrize(
    ("option", "others"),
    [
        ("--index-url https://other.example.com/simple", False),
        (f"--index-url {URL}", False),
        ("-i https://u:s3cret@mirror.example.com/simple", False),
        ("--extra-index-url https://u:s3cret@other.example.com/simple", True),
        ("--extra-index-url=https://other.example.com/simple?token=s3cret", True),
        ("--find-links https://u:s3cret@other.example.com/files", True),
        ("-f wheels", True),
        ("--pre", False),
        ("--no-binary :all:", False),
        ("--made-up", False),
    ],
)
def test_options_are_told_and_those_that_name_other_indexes_count(option: str, others: bool, tmp_path: Path) -> None:
    index = f"--index-url {URL}\n" if "extra" in option else ""
    found = read(write(tmp_path, {"r.txt": f"{index}{option}\ndemo\n"}))
    assert told(found)[-1][0] is Omission.OPTION
    assert told(found)[-1][1].startswith(option[:6])
    assert (found.other_indexes, found.sources[0].elsewhere, found.sources[0].incomplete) == (others, 0, ())
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    "word", ["Direct @ https://u:s3cret@files.example.com/direct-1-py3-none-any.whl", "direct[x] @ git+https://git.example.com/d"]
)
def test_words_with_a_url_are_left_out(word: str, tmp_path: Path) -> None:
    found = read_order(["demo", word, "direct"], [], [], URL)
    (source,) = found.sources
    assert [want.project for want in found.wants] == ["demo"]
    assert [(each.omission, each.text) for each in source.left_out] == [(Omission.GIT if "git+" in word else Omission.URL, "direct")]
    assert (source.elsewhere, found.withheld) == (1, {"direct"})
    with pytest.raises(Unreadable, match="nothing of it comes from the mirror") as raised:
        read_order([word], [], [], URL)
    assert "s3cret" not in str(raised.value)
    path = write(tmp_path, {"r.txt": "demo\n"})
    assert [want.project for want in read_order([word], [], [path], URL).wants] == ["demo"]


@pytest.mark.parametrize(
    "text",
    [
        "alpha==1.0; sys_platform == 'linux'\nalpha==2.0; sys_platform != 'linux'\n",
        "alpha==1.0; sys_platform == 'linux'\nalpha==2.0; python_version < '3.12'\n",
        "alpha==1.0; python_version < '2'\nalpha==2.0; python_version < '3'\n",
        "alpha==1.0\nalpha==1\n",
        "alpha==1.0\nalpha==1.0+local\n",
    ],
)
def test_two_releases_that_do_not_meet_are_no_contradiction(text: str, tmp_path: Path) -> None:
    (want,) = read(write(tmp_path, {"r.txt": text})).wants
    assert len(want.pins) == 2


@pytest.mark.parametrize("digest", ["sha256:zz", "sha256:", "md5:00", "00", "sha1:00"])
def test_a_hash_that_is_none_is_refused(digest: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="line 2 has a --hash that is no digest"):
        read(write(tmp_path, {"r.txt": f"demo\nalpha==1.0 --hash={digest}\n"}))


async def test_a_requirement_that_no_release_meets_is_an_error(mirror: BrokenMirror, audit: Audit, check: Check, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        mirror.add(f"demo-{version}-py3-none-any.whl", upload_time="2024-01-01T00:00:00Z")
    for bound in (">=9", "==9.*", "~=3.0", ">2", ">=2,<2"):
        path = write(tmp_path, {"r.txt": f"\ndemo{bound}\n"})
        (finding,) = (await audit(lock=path)).findings
        assert (finding.fault, finding.level, finding.place and finding.place.line) == (Fault.RELEASE_ABSENT, Level.ERROR, 2)
        assert (await check(f"demo{bound}", "-q")).returncode == 1
    for text in ("demo>=1\n", "demo<2,>=1\n", "demo>=9; python_version<'3'\ndemo\n", "demo\n-c c.txt\n"):
        path = write(tmp_path, {"r.txt": text, "c.txt": "demo<2\nother>=9\n"})
        assert (await audit(lock=path)).exit_status == 0
    path = write(tmp_path, {"r.txt": "demo\n-c c.txt\n", "c.txt": "demo>2\n"})
    assert [each.level for each in (await audit(lock=path)).findings] == [Level.ERROR]
    path = write(tmp_path, {"r.txt": "demo>2\n--extra-index-url https://other.example.com/simple\n"})
    assert [each.level for each in (await audit(lock=path)).findings] == [Level.NOTE]


SECRETS = (
    "-i https://u:s3cret@h.example.com/simple",
    "-i //u:s3cret@h.example.com/simple",
    "-i//u:s3cret@h.example.com/simple",
    "-i u:s3cret@h.example.com/simple",
    "--index-url=https:/u:s3cret@h.example.com/simple",
    "--index-url https:\\\\u:s3cret@h.example.com/simple",
    "--extra-index-url https://u:s3cret x@h.example.com/simple",
    "--extra-index-url https://u:x s3cret@h.example.com/simple",
    "--extra-index-url 'https://u:s3cret x@h.example.com/simple'",
    "--extra-index-url https://u:x@s3cret@h.example.com/simple",
    "--extra-index-url https://u:x/s3cret@h.example.com/simple",
    "--extra-index-url https://u:x?s3cret@h.example.com/simple",
    "--extra-index-url https://u:s3cret",
    "-f //h.example.com/files?token=s3cret",
    "-f https://h.example.com/files?token=x s3cret",
    "-r //u:s3cret@h.example.com/r.txt",
    "-r https:\\\\u:s3cret@h.example.com/r.txt",
    "-c https://u:s3cret x@h.example.com/r.txt",
    "-e https://u:s3cret x@h.example.com/r",
    "https://u:s3cret x@h.example.com/r",
    "u:s3cret@h.example.com/r.zip",
    "x==https://u:s3cret@h.example.com/r",
    "a b https://u:s3cret@h.example.com/r",
    "a b //u:s3cret@h.example.com ~",
)


@pytest.mark.parametrize("line", SECRETS)
def test_no_spelling_of_an_address_tells_its_password(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"r.txt": f"{line}\ndemo\n"})
    said = [said_of([], path), said_of([line], None)]
    assert all(said)
    assert "s3cret" not in "".join(said)


def said_of(words: list[str], path: Path | None) -> str:
    """Return what is told of the words and the file, as what was left out or as an error."""
    try:
        return " ".join(text for _, text in told(read_order(words, [], [] if path is None else [path], URL)))
    except MirrormendError as error:
        return str(error)


@pytest.mark.parametrize("line", ["x==https://h.example.com/x.zip", "a b https://h.example.com/x.zip", "a (https://h.example.com/x.zip)"])
async def test_an_address_in_the_middle_of_a_line_is_refused_as_pip_refuses_it(line: str, pip: Pip, tmp_path: Path) -> None:
    path = write(tmp_path, {"r.txt": f"\n{line}\n"})
    done = await pip.run("install", "-q", "--dry-run", "--no-deps", "--no-index", "-r", str(path))
    assert "No such file" in done.stderr or "Invalid requirement" in done.stderr, done
    with pytest.raises(Unreadable, match="line 2 is no requirement"):
        read(path)


def test_with_no_index_nothing_comes_from_the_mirror(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="nothing of it comes from the mirror"):
        read(write(tmp_path, {"r.txt": "demo\n--no-index\n-f wheels\n"}))


@pytest.mark.parametrize(
    "line",
    ["-r https://u:s3cret@host.example.com/r.txt", "--requirement=HTTP://host.example.com/r.txt", "-c https://host.example.com/c.txt"],
)
def test_a_file_at_a_url_is_not_fetched_and_leaves_the_check_incomplete(line: str, tmp_path: Path) -> None:
    found = read(write(tmp_path, {"r.txt": f"demo\n{line}\n"}))
    assert [each.omission for each in found.sources[0].incomplete] == [Omission.REMOTE_FILE]
    assert "s3cret" not in repr(found)


def test_constraints_that_are_not_there_leave_the_check_incomplete(tmp_path: Path) -> None:
    found = read(write(tmp_path, {"r.txt": "demo\n-c nosuch.txt\n"}))
    assert [each.omission for each in found.sources[0].incomplete] == [Omission.MISSING_FILE]


def test_constraints_pin_each_platform_and_bound_what_is_followed(tmp_path: Path) -> None:
    constraints = "demo==1.0; sys_platform == 'win32' --hash=sha256:AA\ndemo==2.0; sys_platform != 'win32'\nbelow<3\n"
    found = read(write(tmp_path, {"r.txt": "Demo[x]\n-c c.txt\n", "c.txt": constraints}))
    (want,) = found.wants
    needed = {pin.version: {platform for platform, _ in pin.needed or ()} for pin in want.pins}
    assert needed["1.0"] == {"windows-amd64"}
    assert "windows-amd64" not in needed["2.0"]
    assert "linux-x86_64" in needed["2.0"]
    assert (found.matrix, found.constraints[-1]) == (True, "below<3")


def test_the_dependencies_of_a_local_project_are_needed_of_the_mirror(tmp_path: Path) -> None:
    project = '[project]\nname = "app"\ndependencies = ["demo"]\n[project.optional-dependencies]\nx = ["other"]\ny = ["never"]\n'
    found = read(write(tmp_path, {"r.txt": "-e ./app[x]\n", "app/pyproject.toml": project}))
    assert {want.project for want in found.wants} == {"demo", "other"}
    assert told(found) == [(Omission.EDITABLE, "-e ./app[x]")]
    assert "app" in found.withheld


def test_where_all_is_pinned_a_local_project_adds_nothing(tmp_path: Path) -> None:
    project = '[project]\nname = "app"\ndependencies = ["demo"]\ndynamic = ["optional-dependencies"]\n'
    found = read(write(tmp_path, {"r.txt": "-e ./app\ndemo==1.0\n", "app/pyproject.toml": project}))
    assert wanted(found) == {("demo", "1.0")}
    assert (found.matrix, found.sources[0].incomplete) == (True, ())


def test_a_local_project_that_a_build_must_tell_of_leaves_the_check_incomplete(tmp_path: Path) -> None:
    for name, files in {"app": {"pyproject.toml": "[build-system]\n"}, "old": {"setup.py": ""}}.items():
        write(tmp_path, {f"{name}/{each}": text for each, text in files.items()})
        found = read(write(tmp_path, {"r.txt": f"./{name}\ndemo\n"}))
        assert [each.omission for each in found.sources[0].incomplete] == [Omission.DYNAMIC]


def test_the_mark_of_utf_32_is_not_taken_for_that_of_utf_16(tmp_path: Path) -> None:
    for mark, encoding in ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")):
        assert wanted(read(write(tmp_path, {"r.txt": mark + "alpha\n".encode(encoding)}))) == {("alpha", "")}


async def test_the_command_names_the_lines_that_it_leaves_out(stocked: BrokenMirror, check: Check, tmp_path: Path) -> None:
    lines = "demo==2.0\n-r https://u:s3cret@host.example.com/r.txt\ngit+https://s3cret@host.example.com/a\n--pre\n"
    path = write(tmp_path, {"r.txt": lines})
    done = await check("-r", str(path), "-q")
    assert done.returncode == 2, done
    assert "Left out, from a Git repository: 1 (git+https://host.example.com/a)\n" in done.stdout
    assert "Left out, options: 1 (--pre)\n" in done.stdout
    assert "Not all could be checked: 1 (-r https://host.example.com/r.txt) may lead to more.\n" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
    done = await check("-r", str(write(tmp_path, {"r.txt": "demo==2.0\n--pre\n"})), "-q")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Sound: nothing was found.")


async def test_constraints_choose_what_is_followed_and_what_is_bound_elsewhere_is_not(
    mirror: BrokenMirror, audit: Audit, tmp_path: Path
) -> None:
    for name, needs in {"top-1.0": ["corp", "old"], "old-1.0": ["leaf"], "old-2.0": ["never"], "leaf-1.0": []}.items():
        wheel = f"{name}-py3-none-any.whl"
        mirror.add(wheel, make_wheel(wheel, requires_dist=needs), upload_time="2024-01-01T00:00:00Z")
    path = write(tmp_path, {"requirements.txt": "top\ncorp @ https://host.example.com/c.zip\n-c c.txt\n", "c.txt": "old<2\n"}).with_name(
        "requirements.txt"
    )
    report = await audit(lock=path, closure=True)
    assert {each.name for each in report.projects} == {"top", "old", "leaf"}
    assert {each.name for each in mirror.asked if each.kind == "page"} == {"page:top", "page:old", "page:leaf"}
    assert report.exit_status == 0


@pytest.mark.parametrize("text", ["", "# nothing\n", "--pre\n", "-r a.txt\n"])
def test_an_empty_file_is_not_sound(text: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="it names no requirements"):
        read(write(tmp_path, {"r.txt": text, "a.txt": "\n"}))


def test_no_message_tells_credentials_or_more_than_a_line(tmp_path: Path) -> None:
    for line in ("corp @@ https://u:s3cret@host.example.com/x", "alpha=1 https://u:s3cret@host.example.com/x?s3cret"):
        with pytest.raises(Unreadable) as error:
            read(write(tmp_path, {"r.txt": f"{line}\n"}))
        assert "s3cret" not in str(error.value)
        assert "\n" not in str(error.value)


_TEXTS = (
    *("-r ", "-c ", "-e ", "--hash", "=", "==", " @ ", "https://", "file:", "git+", "[", "]", ";", "#", "\\", " ", "'", '"'),
    *("${HOME}", "r.txt", "demo", "1.0", "python_version", "<", "../", "egg=", "--", "-f", ".whl", ",", "\n", "\0", "\ufeff", "\u2028"),
)
_WORDS = st.sampled_from([*_TEXTS, "demo-1.0-py3-none-any.whl"])


@given(st.one_of(st.binary(max_size=200), st.lists(_WORDS, max_size=30).map("".join).map(str.encode)))
def test_of_any_bytes_there_is_an_order_or_a_reason(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = _folder(tmp_path_factory)
    path = write(folder, {"r.txt": content})
    try:
        found = read(path)
    except Unreadable as error:
        assert "\n" not in str(error)  # noqa: PT017 - either end is right
    else:
        assert found.wants


def _folder(factory: pytest.TempPathFactory, known: list[Path] = []) -> Path:  # noqa: B006 - one for all examples
    if not known:
        known.append(factory.mktemp("any"))
    return known[0]
