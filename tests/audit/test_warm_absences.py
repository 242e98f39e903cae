"""`mirrormend warm` of something that the mirror does not have is no success, and it says what that is."""

from pathlib import Path

import pytest

from tests.audit.conftest import LINUX, MAC, OLD, SDIST
from tests.audit.test_warm import Warm, store, warm
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror

__all__ = ["store", "warm"]


def lock(folder: Path, mirror: BrokenMirror, version: str, *files: str, digest: str = "") -> Path:
    """A uv.lock that names `demo` of this version with these wheels."""
    known = mirror.projects["demo"].files
    hashes = {name: digest or (known[name].hashes["sha256"] if name in known else "0" * 64) for name in files}
    wheels = "".join(f'    {{ url = "{mirror.origin}/{name}", hash = "sha256:{hashes[name]}" }},\n' for name in files)
    path = folder / "uv.lock"
    path.write_text(
        'version = 1\nrequires-python = ">=3.12"\n\n[[package]]\nname = "app"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "demo" }]\n\n'
        f'[[package]]\nname = "demo"\nversion = "{version}"\nsource = {{ registry = "{mirror.url}" }}\nwheels = [\n{wheels}]\n',
        encoding="utf-8",
    )
    return path


async def test_a_release_that_is_not_there_is_named_and_ends_with_1(stocked: BrokenMirror, warm: Warm) -> None:
    done = await warm("demo==9.9", "-q")
    assert done.returncode == 1
    assert "not there: demo 9.9: the mirror lists no file of this release\n" in done.stdout
    assert (await warm("demo==1", "demo==2.0.0", "-q")).returncode == 0


async def test_a_requirement_that_no_release_meets_is_named_and_ends_with_1(stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    done = await warm("demo>=3", "-q")
    assert done.returncode == 1
    assert "not there: no listed release meets demo>=3\n" in done.stdout
    assert (await warm("demo>=2", "-q")).returncode == 0
    path = tmp_path / "requirements.txt"
    path.write_text("demo>=3\n--extra-index-url https://other.example.com/simple\n", encoding="utf-8")
    done = await warm("-r", str(path), "-q")
    assert done.returncode == 0, done
    assert "not on the mirror, and perhaps not needed: no listed release meets demo>=3" in done.stdout


async def test_one_of_two_releases_that_is_not_there_is_named(stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("demo==1.0 ; sys_platform == 'win32'\ndemo==3.0 ; sys_platform != 'win32'\n", encoding="utf-8")
    done = await warm("-r", str(path), "-q")
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "not there" in line] == [
        "not there: demo 3.0: the mirror lists no file of this release"
    ]


async def test_a_locked_file_that_is_not_listed_or_is_another_is_named(stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    gone = "demo-2.0-cp39-cp39-win_amd64.whl"
    done = await warm("--lock", str(lock(tmp_path, stocked, "2.0", LINUX, gone)), "-q")
    assert done.returncode == 1
    assert f"not there: demo 2.0 {gone}: " in done.stdout
    assert LINUX not in done.stdout
    done = await warm("--lock", str(lock(tmp_path, stocked, "2.0", LINUX, digest="a" * 64)), "-q")
    assert done.returncode == 1
    assert f"not there: demo 2.0 {LINUX}: its sha256 is " in done.stdout
    assert (await warm("--lock", str(lock(tmp_path, stocked, "2.0", LINUX, MAC)), "-q")).returncode == 0


async def test_a_locked_file_that_is_not_delivered_is_named(stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    stocked.fault(MAC, artifactory_404())
    done = await warm("--lock", str(lock(tmp_path, stocked, "2.0", LINUX, MAC)), "-q")
    assert done.returncode == 1
    assert f"not there: demo {MAC}: the mirror does not deliver it\n" in done.stdout


async def test_a_release_of_which_no_file_is_delivered_is_named(stocked: BrokenMirror, warm: Warm) -> None:
    for name in (MAC, LINUX, SDIST):
        stocked.fault(name, artifactory_404())
    done = await warm("demo==2.0", "-q")
    assert done.returncode == 1
    assert "not there: demo 2.0: the mirror delivers none of its files\n" in done.stdout
    assert (await warm("demo==1.0", "-q")).returncode == 0


async def test_what_another_index_may_have_is_told_and_no_failure(stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("--extra-index-url https://other.example.com/simple/\ndemo==9.9\nnosuch\n", encoding="utf-8")
    done = await warm("-r", str(path), "-q")
    assert done.returncode == 0, done
    assert "not on the mirror, and perhaps not needed: demo 9.9, nosuch\n" in done.stdout
    assert "Left out, options: 1 (--extra-index-url https://other.example.com/simple/)\n" in done.stdout


@pytest.mark.parametrize("line", ["-r https://host.example.com/r.txt", "-c nosuch.txt"])
async def test_what_could_not_be_read_is_no_success(line: str, stocked: BrokenMirror, warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"demo\n{line}\n", encoding="utf-8")
    done = await warm("-r", str(path), "-q")
    assert done.returncode == 1
    assert f"Not all could be learned: 1 ({line}) may lead to more.\n" in done.stdout
    assert OLD not in done.stdout
