"""`mirrormend lock` as a user meets it where it cannot do what was asked, and the files that it looks at."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.config import Settings
from proxy.locking import uv
from proxy.locking.addresses import Door
from proxy.locking.credentials import settings_with_credentials
from proxy.locking.errors import LockFailed
from proxy.locking.indexes import configured
from proxy.locking.project import NoProject, Project
from proxy.locking.steps import Way, rename
from proxy.locking.uv import environment_of, find_uv, refused
from proxy.locking.writing import LockOnDisk

UPSTREAM = "http://127.0.0.1:9/simple/"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, which is the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "a"\nversion = "1"\n', encoding="utf-8")
    monkeypatch.chdir(folder)
    return folder


def one_line(capsys: pytest.CaptureFixture[str], status: int, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(("lock", *words))
    captured = capsys.readouterr()
    assert (end.value.code, captured.out) == (status, "")
    assert captured.err.startswith("mirrormend: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("mirrormend: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no mirror is given; say --upstream URL"),
        (("--check", "--to", "mirror"), "--check looks at the lock only"),
        (("--to", "mirror", "--", "-U"), "--to changes addresses only"),
        (("--to", "proxy"), "--to proxy needs the proxy's address: --proxy URL"),
        (("--to", "elsewhere"), "'elsewhere' is not one of"),
        (("--proxy", UPSTREAM, "--upstream", UPSTREAM), "give either --upstream or --proxy"),
        (("--proxy", "localhost:8080"), "--proxy: give the whole address"),
        (("--upstream", "mirror"), "--upstream: give the whole address"),
        (("--upstream", "http://999.1.1.1/simple"), "uv does not take the address of the mirror: its host is no IPv4 address"),
        (("--upstream", "http://[fe80::1%25eth0]/simple"), "uv does not take the address of the mirror: "),
        (("--upstream", "http://\u2028.example/simple"), "--upstream: its host, port or spelling is no address"),
        (("--upstream", "http://xn--\u00e4.example/simple"), "--upstream: its host is no name that can be asked for"),
        (("--project", "nowhere"), "there is no such folder; give one with --project DIR"),
        (("--", "--default-index", "x"), "--default-index cannot be passed on to uv; the index is the mirror: say --upstream URL"),
        (("--", "-ihttp://x"), "-ihttp://x cannot be passed on"),
        (("--", "--index=x"), "--index cannot be passed on to uv"),
        (("--", "--project", "x"), "--project cannot be passed on to uv; say --project DIR before the --"),
        (("--", "--script"), "--script names no file, or a second one; give one with --script FILE"),
        (("--", "--script", "a.py", "--script=b.py"), "--script names no file, or a second one"),
        (("--script", "a.py", "--", "--script", "b.py"), "a.py and b.py: one script at a time can be locked"),
        (("--", "--config-file", "x"), "--config-file cannot be passed on to uv; set UV_CONFIG_FILE"),
        (("--", "--no-config"), "--no-config cannot be passed on to uv; set UV_NO_CONFIG=1"),
        (("-U",), "No such option '-U'"),
    ],
)
def test_wrong_words_get_one_line_with_a_remedy_and_status_2(
    project: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in one_line(capsys, 2, *words)


@pytest.mark.parametrize("words", [("--check",), ("--to", "mirror", "--upstream", UPSTREAM)])
def test_without_a_lock_it_says_how_to_make_one(project: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert one_line(capsys, 1, *words) == f"{project} has no uv.lock; make one: mirrormend lock"


def test_without_uv_it_says_how_to_get_it(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setenv("MIRRORMEND_STORE", "memory")
    assert one_line(capsys, 1, "--upstream", UPSTREAM) == "uv is not found on the PATH; install it, such as by: pip install uv"
    assert find_uv() is None


def test_a_proxy_that_does_not_run_is_told_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = one_line(capsys, 1, "--proxy", "http://me:geheim@127.0.0.1:9/simple")
    assert said.startswith("the proxy at http://127.0.0.1:9/files/ cannot be asked")
    assert said.endswith("start it, or leave out --proxy to have one started")
    assert "geheim" not in said


def test_without_a_project_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "neither this folder nor one above it has a pyproject.toml" in one_line(capsys, 2, "--check")


def test_the_check_knows_a_proxy_and_no_mirror_by_that_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "x"\nsource = { registry = "http://127.0.0.1:9/simple/" }\n'
        '[[package]]\nname = "y"\nsource = { registry = "https://mirror.example.com/simple" }\n',
        encoding="utf-8",
    )
    assert (
        one_line(capsys, 1, "--check")
        == "uv.lock names a proxy: http://127.0.0.1:9/simple/ (1 packages); make it name the mirror: mirrormend lock"
    )
    with pytest.raises(SystemExit) as end:
        main(("lock", "--check", "--upstream", UPSTREAM))
    assert end.value.code == 0
    assert "https://mirror.example.com/simple" in one_line(
        capsys, 1, "--check", "--upstream", UPSTREAM, "--proxy", "https://mirror.example.com/simple/"
    )


async def test_the_mirror_may_be_on_the_host_of_the_proxy(project: Path) -> None:
    way = Way((Door("https://pypi.example.com/mirror/simple/", "https://pypi.example.com/simple/"),), own=False)
    said: list[str] = []

    async def renamed(url: str) -> int:
        (project / "uv.lock").write_text(
            'version = 1\n[[package]]\nname = "x"\nversion = "1"\nsource = { registry = "https://pypi.example.com/mirror/simple/" }\n'
            f'[[package]]\nname = "y"\nversion = "1"\nsource = {{ url = "{url}" }}\n',
            encoding="utf-8",
        )
        return await rename(Project.at(project), [], way, to_mirror=True, say=said.append)

    assert await renamed("https://pypi.example.com/mirror/files/y-1.tar.gz") == 0
    assert said[0] == "uv.lock stays as it is"
    with pytest.raises(LockFailed, match="for something else than an index"):
        await renamed("https://pypi.example.com/files/y/y-1.tar.gz")


def test_an_option_for_uv_that_leads_it_elsewhere_is_found() -> None:
    assert refused(["--upgrade", "--index-strategy", "first-index", "-P", "x"]) is None
    assert refused(["-U", "--directory=x"]) == "--directory"


def test_what_the_proxy_has_uv_need_not_send() -> None:
    table = {"index": [{"name": "corp", "url": "http://reader:s3cret@127.0.0.1:9/simple", "default": True}]}
    indexes = configured([("pyproject.toml", table)], {})
    upstream = {"url": UPSTREAM}
    settings, without = settings_with_credentials(Settings.model_validate({"upstream": upstream}), indexes, {})
    assert settings.upstream[0].url == "http://reader:s3cret@127.0.0.1:9/simple/"
    assert without == {"UV_INDEX_CORP_USERNAME", "UV_INDEX_CORP_PASSWORD"}
    for own in ({"token": "t"}, {"username": "u"}, {"url": "http://u:p@127.0.0.1:9/simple/"}):
        given = Settings.model_validate({"upstream": upstream | own})
        assert settings_with_credentials(given, indexes, {}) == (given, without)


def test_no_outbound_proxy_stands_before_the_own_one() -> None:
    environ = {"NO_PROXY": "corp.example.com", "HTTP_PROXY": "http://out:3128", "UV_INDEX_URL": "x"}
    own = environment_of(environ, {"UV_DEFAULT_INDEX": "y"}, frozenset({"UV_INDEX_URL"}), loopback=True)
    exceptions = "corp.example.com,127.0.0.1"
    assert own == {"HTTP_PROXY": "http://out:3128", "NO_PROXY": exceptions, "no_proxy": exceptions, "UV_DEFAULT_INDEX": "y"}
    assert environment_of(environ, {}, frozenset(), loopback=False) == environ


@pytest.mark.parametrize(
    ("environ", "upper", "lower"),
    [
        ({}, "127.0.0.1", "127.0.0.1"),
        ({"NO_PROXY": "a"}, "a,127.0.0.1", "a,127.0.0.1"),
        ({"no_proxy": "a"}, "a,127.0.0.1", "a,127.0.0.1"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, "a,127.0.0.1", "b,127.0.0.1"),
        ({"NO_PROXY": "*"}, "*,127.0.0.1", "*"),
    ],
)
def test_each_variable_keeps_what_it_exempts(environ: dict[str, str], upper: str, lower: str) -> None:
    # curl and Python take a star for all hosts only where it stands alone, and uv does not take it for addresses.
    own = environment_of(environ, {}, frozenset(), loopback=True)
    assert (own["NO_PROXY"], own["no_proxy"]) == (upper, lower)


# The project and its settings


def test_the_nearest_project_is_found_and_the_workspace_that_it_is_a_member_of(project: Path) -> None:
    for name in ("packages/a/src", "packages/b", "tools/c"):
        (project / name).mkdir(parents=True)
    for name in ("packages/a", "packages/b", "tools/c"):
        (project / name / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (project / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/b"]\n', encoding="utf-8")
    assert Project.at(project / "packages" / "a" / "src").root == project
    assert Project.at(project / "packages" / "b").root == project / "packages" / "b"
    assert Project.at(project / "tools" / "c").lock == project / "tools" / "c" / "uv.lock"
    assert Project.at(project).root == project


@pytest.mark.parametrize("between", ['[project]\nname = "b"\nversion = "1"\n', "[tool.other]\n", "[tool.uv.workspace]\n"])
def test_of_the_projects_around_one_the_nearest_alone_can_be_its_workspace(project: Path, between: str) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    for folder, text in ((inner, "[project]\n"), (project / "a", between), (project, '[tool.uv.workspace]\nmembers = ["a/b", "a/**"]\n')):
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    assert Project.at(inner).root == inner
    (project / "a" / "pyproject.toml").unlink()
    assert Project.at(inner).root == project


@pytest.mark.parametrize("members", ["packages/**a", "", "/x/*", 3, "*"])
def test_a_pattern_that_is_none_is_left_to_uv(project: Path, members: object) -> None:
    (project / "one").mkdir()
    (project / "one" / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (project / "pyproject.toml").write_text(f"[tool.uv.workspace]\nmembers = [{members!r}]\nexclude = [{members!r}, 3]\n", encoding="utf-8")
    assert Project.at(project / "one").root == project / "one"
    assert [name for name, _ in Project.at(project).projects()] == ["pyproject.toml"]


def test_a_tilde_is_a_name_like_any_other(project: Path) -> None:
    (project / "~nobody").mkdir()
    (project / "~nobody" / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    assert Project.at(Path("~nobody")).root == project / "~nobody"


def test_the_metadata_of_a_script_ends_lines_as_toml_does(project: Path) -> None:
    script = project / "a.py"
    script.write_bytes("# /// script\r\n# # \u2028x \x85y\r\n# [tool.uv]\r\n# index-url = 'own'\r\n# ///\r\n".encode())
    assert Project.of_script(script, project).settings({"UV_NO_CONFIG": "1"}) == [(str(script), {"index-url": "own"})]


def test_a_file_of_settings_that_is_missing_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UV_CONFIG_FILE", "missing.toml")
    assert one_line(capsys, 2, "--upstream", UPSTREAM) == f"{project / 'missing.toml'}: it cannot be read (No such file or directory)"


def test_settings_come_from_where_uv_has_them(project: Path, tmp_path: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.uv]\nindex-url = 'own'\n", encoding="utf-8")
    user = tmp_path / "config" / "uv"
    user.mkdir(parents=True)
    (user / "uv.toml").write_text("index-url = 'user'\n", encoding="utf-8")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CONFIG_DIRS": str(tmp_path)}

    def urls(**more: str) -> list[object]:
        return [table.get("index-url") for _, table in Project.at(project).settings(environ | more)][:2]

    assert urls() == ["own", "user"]
    assert urls(UV_NO_CONFIG="1") == []
    (project / "uv.toml").write_text("index-url = 'beside'\n", encoding="utf-8")
    assert urls() == ["beside", "user"]
    assert urls(UV_CONFIG_FILE=str(user / "uv.toml")) == ["user"]


def test_a_project_without_settings_has_those_of_the_nearest_folder_above(project: Path, tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "none"), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    (project / "pyproject.toml").write_text("[tool.uv]\nindex-url = 'above'\n", encoding="utf-8")

    def found() -> object:
        return Project.at(inner).settings(environ)[0]

    assert found() == (str(project / "pyproject.toml"), {"index-url": "above"})
    (project / "a" / "uv.toml").write_text("index-url = 'nearer'\n", encoding="utf-8")
    assert found() == (str(project / "a" / "uv.toml"), {"index-url": "nearer"})
    (inner / "pyproject.toml").write_text("[tool.uv]\n", encoding="utf-8")
    assert found() == ("pyproject.toml", {})


@pytest.mark.parametrize("content", [b"[tool", b"\xff", b"tool = 1", b"x = " + b"9" * 5000, b"x = " + b"[" * 5000])
def test_a_pyproject_that_cannot_be_read_is_told_so_or_passed_over(project: Path, content: bytes) -> None:
    (project / "pyproject.toml").write_bytes(content)
    if content == b"tool = 1":
        assert Project.at(project).root == project
    else:
        with pytest.raises(NoProject, match=r"pyproject\.toml: it"):
            Project.at(project)


# The file of the lock


def test_a_lock_is_replaced_as_a_whole_and_keeps_its_mode_and_its_place(tmp_path: Path) -> None:
    real = tmp_path / "real.lock"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link = tmp_path / "uv.lock"
    link.symlink_to(real)
    LockOnDisk(link).write(b"new")
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"real.lock", "uv.lock"}


def test_the_same_bytes_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(b"old")
    node = path.stat().st_ino
    LockOnDisk(path).write(b"old")
    assert path.stat().st_ino == node


def test_where_something_goes_wrong_it_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "uv.lock"

    def fail(disk: LockOnDisk) -> None:
        with disk.put_back_unless_done():
            path.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail(LockOnDisk(path))
    assert not path.exists()
    path.write_bytes(b"old")
    with pytest.raises(KeyError):
        fail(LockOnDisk(path))
    assert path.read_bytes() == b"old"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LockFailed, match="No space left on device"):
        LockOnDisk(path).write(b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["uv.lock"]
    assert path.read_bytes() == b"old"


def test_uv_is_taken_from_the_path_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "uv"
    mine.write_text("#!/bin/sh\n", encoding="utf-8")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert uv.find_uv() == str(mine)
