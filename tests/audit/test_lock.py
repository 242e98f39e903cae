"""A lock against the mirror: what the page contradicts, and where it can be installed."""

from pathlib import Path

import pytest

from proxy.audit.findings import Fault
from proxy.audit.matrix import Cell, Matrix, worst
from proxy.audit.platforms import PLATFORMS, fits
from proxy.core.page import File
from proxy.core.platform import platform_of
from tests.audit.conftest import LINUX, MAC, SDIST, Audit
from tests.faults import artifactory_404, status
from tests.mirror import BrokenMirror


def write(
    mirror: BrokenMirror, folder: Path, *names: str, python: str = "==3.12.*", hashes: dict[str, str] | None = None, size: int = 0
) -> Path:
    """A pylock.toml of `demo` 2.0 with these files."""
    listed = mirror.projects["demo"].files
    digests = {name: listed[name].hashes["sha256"] if name in listed else "0" * 64 for name in names} | (hashes or {})
    told = f", size = {size}" if size else ""
    files = {
        name: f'{{ name = "{name}", url = "https://x.example.com/{name}"{told}, hashes = {{ sha256 = "{digests[name]}" }} }}'
        for name in names
    }
    wheels = ", ".join(file for name, file in files.items() if name.endswith(".whl"))
    sdist = "".join(f"sdist = {file}\n" for name, file in files.items() if name.endswith(".tar.gz"))
    path = folder / "pylock.toml"
    path.write_text(
        f'lock-version = "1.0"\ncreated-by = "test"\nrequires-python = "{python}"\n'
        f'[[packages]]\nname = "demo"\nversion = "2.0"\n{sdist}' + (f"wheels = [{wheels}]\n" if wheels else ""),
        encoding="utf-8",
    )
    return path


def cells(matrix: Matrix | None) -> dict[str, str]:
    assert matrix is not None
    return {platform.name: matrix.rows[0].worst(platform.name).value for platform in PLATFORMS}


async def test_only_the_locked_releases_are_asked_about(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    report = await audit(lock=write(stocked, tmp_path, LINUX, MAC, SDIST))
    assert report.exit_status == 0
    assert {each.name for each in stocked.asked if each.kind == "file"} == {LINUX, MAC, SDIST}


async def test_the_matrix_counts_files_that_are_delivered_alone(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    lock = write(stocked, tmp_path, LINUX, MAC)
    whole = cells((await audit(lock=lock)).matrix)
    assert {name for name, cell in whole.items() if cell == "wheel"} == {"linux-x86_64", "macos-arm64"}
    assert whole["windows-amd64"] == "none"
    stocked.fault(MAC, artifactory_404())
    assert cells((await audit(lock=lock)).matrix)["macos-arm64"] == "none"
    stocked.fault(LINUX, status(503))
    assert cells((await audit(lock=lock)).matrix)["linux-x86_64"] == "unknown"


async def test_an_sdist_is_what_is_left_where_a_wheel_is_dead(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    stocked.fault(MAC, artifactory_404())
    found = cells((await audit(lock=write(stocked, tmp_path, LINUX, MAC, SDIST))).matrix)
    assert (found["macos-arm64"], found["linux-x86_64"]) == ("sdist", "wheel")


async def test_each_python_of_the_lock_has_its_own_answer(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    matrix = (await audit(lock=write(stocked, tmp_path, LINUX, python=">=3.11,<3.14"))).matrix
    assert matrix is not None
    assert matrix.rows[0].cells["linux-x86_64"] == {"3.11": Cell.NONE, "3.12": Cell.WHEEL, "3.13": Cell.NONE}


async def test_what_was_not_asked_is_not_known(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    found = cells((await audit(lock=write(stocked, tmp_path, LINUX, MAC), probe={"budget": 0})).matrix)
    assert (found["macos-arm64"], found["windows-amd64"]) == ("unknown", "none")


async def test_what_the_page_contradicts_is_told(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    gone = "demo-2.0-cp312-cp312-win_amd64.whl"
    report = await audit(lock=write(stocked, tmp_path, LINUX, gone, hashes={LINUX: "1" * 64}, size=5))
    found = {(each.fault, each.filename) for each in report.findings}
    assert found == {(Fault.HASH_DIFFERS, LINUX), (Fault.SIZE_DIFFERS, LINUX), (Fault.FILE_NOT_LISTED, gone)}
    assert {each.place and each.place.line for each in report.findings} == {4}


async def test_a_release_that_the_mirror_has_not_is_told(stocked: BrokenMirror, audit: Audit) -> None:
    report = await audit("demo==3.0")
    assert [(each.fault, each.release) for each in report.findings] == [(Fault.RELEASE_ABSENT, "3.0")]
    assert set(cells(report.matrix).values()) == {"none"}


async def test_a_hash_that_no_file_has_is_told(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(f"demo==2.0 --hash=sha256:{'1' * 64}\n", encoding="utf-8")
    assert [(each.fault, each.release) for each in (await audit(lock=path)).findings] == [(Fault.HASH_DIFFERS, "2.0")]
    digest = stocked.projects["demo"].files[LINUX].hashes["sha256"]
    path.write_text(f"demo==2.0 --hash=sha256:{digest}\n", encoding="utf-8")
    report = await audit(lock=path)
    assert report.findings == ()
    assert cells(report.matrix)["macos-arm64"] == "none"


async def test_what_the_markers_leave_out_is_not_needed(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("demo==1.0; sys_platform == 'win32'\n", encoding="utf-8")
    found = cells((await audit(lock=path)).matrix)
    assert {name for name, cell in found.items() if cell == "not-needed"} == {each.name for each in PLATFORMS} - {"windows-amd64"}
    assert found["windows-amd64"] == "wheel"


async def test_a_pin_may_spell_its_version_otherwise(stocked: BrokenMirror, audit: Audit) -> None:
    assert (await audit("Demo==2")).findings == ()


@pytest.mark.parametrize(
    ("name", "where", "platform"),
    [
        ("a-1-py3-none-any.whl", {each.name for each in PLATFORMS}, "any"),
        ("a-1-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", {"linux-x86_64"}, "Linux x86_64"),
        ("a-1-cp312-cp312-manylinux_2_99_x86_64.whl", set(), "Linux x86_64"),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", {"musllinux-x86_64"}, "Alpine x86_64"),
        ("a-1-cp312-cp312-macosx_10_9_universal2.whl", {"macos-arm64", "macos-x86_64"}, "macOS universal2"),
        ("a-1-cp312-cp312-win_amd64.whl", {"windows-amd64"}, "Windows amd64"),
        ("a-1-cp312-cp312-win32.whl", set(), "Windows 32-bit"),
        ("a-1-cp313-cp313-win_amd64.whl", set(), "Windows amd64"),
        ("a-1.tar.gz", {each.name for each in PLATFORMS}, "sdist"),
        ("a-1.egg", set(), "legacy"),
    ],
)
def test_a_file_fits_where_an_installer_would_take_it(name: str, where: set[str], platform: str) -> None:
    file = File(name, f"https://mirror.example.com/{name}")
    assert {each.name for each in PLATFORMS if fits(file, each, (3, 12))} == where
    assert platform_of(file) == platform


def test_requires_python_counts() -> None:
    file = File("a-1-py3-none-any.whl", "https://mirror.example.com/a", requires_python=">=3.13")
    assert [fits(file, PLATFORMS[0], python) for python in ((3, 12), (3, 13))] == [False, True]


def test_the_worst_cell_decides() -> None:
    assert worst([Cell.WHEEL, Cell.NOT_NEEDED]) is Cell.WHEEL
    assert worst([Cell.WHEEL, Cell.SDIST, Cell.UNKNOWN]) is Cell.UNKNOWN
    assert worst([]) is Cell.NOT_NEEDED


async def test_a_finding_of_the_page_of_a_locked_package_stands_at_its_line(mirror: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    mirror.add(LINUX)
    found = [each for each in (await audit(lock=write(mirror, tmp_path, LINUX))).findings if each.fault is Fault.PAGE_LACKS_UPLOAD_TIME]
    assert [each.place is not None and each.place.line for each in found] == [4]


async def test_what_another_index_may_have_is_not_called_uninstallable(stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("absent==1.0\ndemo==2.0 ; python_version >= '3.12'\n", encoding="utf-8")
    alone = (await audit(lock=path)).matrix
    path.write_text(f"--extra-index-url https://other.example.com/simple/\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    beside = (await audit(lock=path)).matrix
    assert alone is not None
    assert beside is not None
    assert {alone.verdict(each.name) for each in PLATFORMS} == {Cell.NONE}
    assert {beside.verdict(each.name) for each in PLATFORMS} == {Cell.UNKNOWN}
