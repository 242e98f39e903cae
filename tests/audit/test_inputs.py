"""What is read out of locks, requirements and projects, and on which line it stands."""

from pathlib import Path

import pytest

from proxy.audit.inputs import read_order
from proxy.audit.wanted import LockedFile, Order, Pin, Unreadable, Want
from tests.clients import Uv, write_project
from tests.mirror import BrokenMirror

URL = "https://mirror.example.com/simple/"


def order(path: Path, text: str | None = None) -> Order:
    if text is not None:
        path.write_text(text, encoding="utf-8")
    return read_order([], [path], [], URL)


def by_name(found: Order) -> dict[str, Want]:
    return {want.project: want for want in found.wants}


def pin(found: Order, project: str) -> Pin:
    (only,) = by_name(found)[project].pins
    return only


UV_LOCK = f"""version = 1
requires-python = ">=3.13"

[[package]]
name = "app"
version = "0.1"
source = {{ editable = "." }}
dependencies = [
    {{ name = "alpha" }},
    {{ name = "windows-only", marker = "sys_platform == 'win32'" }},
]

[package.dev-dependencies]
dev = [{{ name = "dev-tool" }}]

[[package]] # with a comment
name = "alpha"
version = "1.0"
source = {{ registry = "{URL}" }}
sdist = {{ url = "https://files.example.com/alpha-1.0.tar.gz", hash = "sha256:aa", size = 12 }}
wheels = [{{ url = "https://files.example.com/a/alpha-1.0+local-py3-none-any.whl", hash = "sha256:bb" }}]
dependencies = [{{ name = "old", marker = "python_full_version < '3.14'" }}]

[package.optional-dependencies]
fast = [{{ name = "never" }}]

[[package]]
name = "windows-only"
version = "2"
source = {{ registry = "{URL}" }}

[[package]]
name = "old"
version = "3"
source = {{ registry = "{URL}" }}

[[package]]
name = "dev-tool"
version = "4"
source = {{ registry = "{URL}" }}

[[package]]
name = "never"
version = "5"
source = {{ registry = "{URL}" }}
"""


def test_a_uv_lock_gives_releases_files_lines_and_where_each_is_needed(tmp_path: Path) -> None:
    found = order(tmp_path / "uv.lock", UV_LOCK)
    assert (found.requires_python, found.matrix) == (">=3.13", True)
    assert list(by_name(found)) == ["alpha", "dev-tool", "never", "old", "windows-only"]
    alpha = pin(found, "alpha")
    assert (alpha.version, alpha.place and alpha.place.line) == ("1.0", 16)
    assert alpha.files == (
        LockedFile("alpha-1.0+local-py3-none-any.whl", {"sha256": "bb"}),
        LockedFile("alpha-1.0.tar.gz", {"sha256": "aa"}, 12),
    )
    assert len(alpha.needed or ()) == 12
    assert pin(found, "windows-only").needed == {("windows-amd64", "3.13"), ("windows-amd64", "3.14")}
    assert {python for _, python in pin(found, "old").needed or ()} == {"3.13"}
    assert len(pin(found, "dev-tool").needed or ()) == 12
    assert pin(found, "never").needed == frozenset()


def test_of_a_lock_with_several_registries_only_this_mirror_is_looked_at(tmp_path: Path) -> None:
    text = UV_LOCK.replace(
        f'version = "4"\nsource = {{ registry = "{URL}"', 'version = "4"\nsource = { registry = "https://other.example.com/"'
    )
    found = order(tmp_path / "uv.lock", text)
    assert "dev-tool" not in by_name(found)
    assert found.sources[0].elsewhere == 1
    with pytest.raises(Unreadable, match="packages of several indexes"):
        read_order([], [tmp_path / "uv.lock"], [], "https://proxy.example.com/simple/")


async def test_a_lock_of_real_uv_is_read(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    project = write_project(tmp_path / "project", ["demo; sys_platform == 'linux'"])
    done = await uv.lock(project, mirror.url)
    assert done.ok, done
    found = order(project / "uv.lock")
    assert [each.filename for each in pin(found, "demo").files] == ["demo-1.0-py3-none-any.whl"]
    assert {platform for platform, _ in pin(found, "demo").needed or ()} == {"linux-x86_64", "linux-aarch64", "musllinux-x86_64"}
    exported = await uv.run("export", "--format", "pylock.toml", "-o", "pylock.toml", cwd=project)
    assert exported.ok, exported
    again = order(project / "pylock.toml")
    assert pin(again, "demo").files == pin(found, "demo").files
    assert pin(again, "demo").needed == pin(found, "demo").needed
    exported = await uv.run("export", "--format", "requirements.txt", "-o", "requirements.txt", cwd=project)
    assert exported.ok, exported
    as_text = order(project / "requirements.txt")
    assert pin(as_text, "demo").hashes == {f"sha256:{mirror.projects['demo'].files['demo-1.0-py3-none-any.whl'].hashes['sha256']}"}
    assert as_text.matrix


def test_requirements_follow_includes_continued_lines_hashes_and_comments(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("Beta.Two==2.0 ; sys_platform == 'win32'  # why\n", encoding="utf-8")
    text = (
        "# a comment\n"
        "--index-url https://mirror.example.com/simple/\n"
        "alpha==1.0 \\\n    --hash=sha256:AA \\\n    --hash=sha256:bb\n"
        "-r more.txt\n"
        "-e .\n"
        "-c constraints.txt\n"
        "./local.whl\n"
        "https://files.example.com/x-1.0.tar.gz\n"
        "direct @ https://files.example.com/direct-1.0.tar.gz\n"
        "gamma[extra]>=3 # no pin\n"
    )
    found = order(tmp_path / "requirements.txt", text)
    assert list(by_name(found)) == ["alpha", "beta-two", "gamma"]
    alpha = pin(found, "alpha")
    assert (alpha.hashes, alpha.place and alpha.place.line) == ({"sha256:aa", "sha256:bb"}, 3)
    assert {platform for platform, _ in pin(found, "beta-two").needed or ()} == {"windows-amd64"}
    assert by_name(found)["gamma"].pins == ()
    assert not found.matrix


def test_a_project_gives_its_dependencies_extras_and_groups(tmp_path: Path) -> None:
    text = (
        '[project]\nname = "app"\nrequires-python = ">=3.12"\ndependencies = [\n  "alpha>=1",\n]\n'
        '[project.optional-dependencies]\nfast = ["beta"]\nall = ["app[fast]"]\n'
        '[dependency-groups]\ndev = ["gamma", {include-group = "docs"}]\ndocs = ["delta"]\n'
    )
    found = order(tmp_path / "pyproject.toml", text)
    assert list(by_name(found)) == ["alpha", "beta", "delta", "gamma"]
    place = by_name(found)["alpha"].place
    assert place is not None
    assert place.line == 5
    assert found.closure == ("alpha>=1", "beta", "gamma", "delta")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", "this is no TOML"),
        ("uv.lock", "a = 1"),
        ("uv.lock", 'version = 1\n[[package]]\nname = "x"\n'),
        ("pylock.toml", 'lock-version = "1.0"\n'),
        ("requirements.txt", "==broken==\n"),
        ("requirements.txt", "-r requirements.txt\n"),
        ("pyproject.toml", '[project]\nname = "x"\n'),
        ("poetry.toml", ""),
    ],
)
def test_what_cannot_be_read_is_told_on_one_line_with_the_file(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(Unreadable) as error:
        order(tmp_path / name, text)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(error.value)
