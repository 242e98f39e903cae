"""A lock file between runs and kills: what is restored and what stays, who waits for whom, and where it is all done."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.locking import crash_guard
from proxy.locking.crash_guard import order_to_restore, remove_temporaries, restore
from proxy.locking.errors import LockFailed
from proxy.locking.exclusion import only_run
from proxy.locking.guarding import guarded
from proxy.locking.project import NoProject, Project
from proxy.locking.uv import Errand, errand_of, script_of, without_dry_run
from proxy.locking.uv_location import UvLocation
from proxy.locking.writing import LockOnDisk

PROXY = "http://127.0.0.1:20001/"
OLD = b'version = 1\nsource = { registry = "https://mirror.example.com/simple/" }\n'
OURS = b'version = 1\nsource = { registry = "http://127.0.0.1:20001/simple/" }\n'
THEIRS = b'version = 1\nsource = { registry = "https://mirror.example.com/other/" }\n'
MERGED = b"version = 1\n<<<<<<< HEAD\n"
HALF = b'version = 1\nsource = { registry = "ht'


@pytest.mark.parametrize("before", [OLD, None])
@pytest.mark.parametrize(
    ("now", "cut_short", "restored"),
    [
        (OURS, False, True),
        (OURS, True, True),
        (THEIRS, False, False),
        (THEIRS, True, False),
        (MERGED, True, False),
        (HALF, True, True),
        (b"", True, True),
        (HALF, False, False),
        (OURS[:60], False, True),
        (None, True, False),
    ],
)
def test_only_what_was_written_for_this_run_is_undone(
    tmp_path: Path, before: bytes | None, now: bytes | None, cut_short: bool, restored: bool
) -> None:
    path = tmp_path / "uv.lock"
    if now is not None:
        path.write_bytes(now)
    restore(path, before, [PROXY], cut_short=cut_short)
    assert (path.read_bytes() if path.exists() else None) == (before if restored else now)


def test_a_content_that_somebody_else_changed_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(OLD)
    disk = LockOnDisk(path, [PROXY])
    path.write_bytes(THEIRS)
    with pytest.raises(LockFailed, match=r"uv\.lock was changed by something else meanwhile, and is left as it is now; run this again"):
        disk.exchange(OLD, OURS)
    assert path.read_bytes() == THEIRS
    disk.exchange(THEIRS, OURS)
    assert disk.is_detoured


def test_what_a_killed_process_left_beside_the_lock_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in ("uv.lock", ".uv.lock-mirrormend-abc", ".uv.lock-mine", ".other.lock-mirrormend-abc"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path / "uv.lock")
    assert {each.name for each in tmp_path.iterdir()} == {"uv.lock", ".uv.lock-mine", ".other.lock-mirrormend-abc"}


# The guard


def test_a_guard_whose_master_is_gone_ends_its_uv_and_restores_what_that_wrote(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(OURS)
    ends, uv_runs = os.pipe()
    # As uv does that is told to end too late: it writes its lock.
    last_words = f"import pathlib, signal; signal.sigwait([signal.SIGTERM]); pathlib.Path({str(path)!r}).write_bytes({OURS!r})"
    script = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print(flush=True); {last_words}"
    with subprocess.Popen([sys.executable, "-c", script], pass_fds=(uv_runs,), stdout=subprocess.PIPE) as uv:
        assert uv.stdout is not None
        uv.stdout.readline()
        os.close(uv_runs)
        guard = [sys.executable, "-I", "-S", crash_guard.__file__, str(ends)]
        told = order_to_restore({path: OLD}, [PROXY]) + crash_guard.news_of_uv(uv.pid) + b'{"uv": nu'
        subprocess.run(guard, input=told, pass_fds=(ends,), check=True)
        assert uv.wait() == 0
    os.close(ends)
    assert path.read_bytes() == OLD


def test_the_lock_is_right_while_a_uv_goes_on_that_does_not_end(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(OURS)
    ends, uv_runs = os.pipe()
    deaf = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()"
    guarding = [sys.executable, "-I", "-S", crash_guard.__file__, str(ends)]
    with (
        subprocess.Popen([sys.executable, "-c", deaf], pass_fds=(uv_runs,), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as uv,
        subprocess.Popen(guarding, stdin=subprocess.PIPE, pass_fds=(ends,)) as guard,
    ):
        assert uv.stdout is not None
        uv.stdout.readline()
        os.close(uv_runs)
        os.close(ends)
        assert guard.stdin is not None
        guard.stdin.write(order_to_restore({path: OLD}, [PROXY]) + crash_guard.news_of_uv(uv.pid))
        guard.stdin.close()
        while path.read_bytes() != OLD:
            assert guard.poll() is None
        assert uv.poll() is None
        # It writes its lock all the same, and ends.
        path.write_bytes(OURS)
        assert uv.stdin is not None
        uv.stdin.close()
        assert guard.wait(30) == 0
    assert path.read_bytes() == OLD


@pytest.mark.parametrize("uv_ended", [True, False])
def test_where_the_lock_could_not_be_put_back_the_guard_does_it(tmp_path: Path, uv_ended: bool) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(OLD)

    def interrupted() -> None:
        with guarded({path: OLD}, [PROXY], os.open(tmp_path, os.O_RDONLY)) as guard:
            guard.uv_runs(os.getpid())
            path.write_bytes(OURS)
            if uv_ended:
                guard.uv_runs(None)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == OLD


def test_on_a_full_disk_the_old_lock_is_put_back_from_the_copy_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(OLD)
    path.chmod(0o640)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with LockOnDisk(path, [PROXY]).put_back_unless_done():
        path.write_bytes(OURS)
        monkeypatch.setattr(os, "fsync", full)
    assert path.read_bytes() == OLD
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["uv.lock"]


def test_a_guard_that_cannot_be_started_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with (
        pytest.raises(LockFailed, match=r"no process can be started that guards the lock .*; see the limits"),
        guarded({}, [PROXY], os.open(tmp_path, os.O_RDONLY)),
    ):
        pytest.fail("unguarded")


def test_a_guard_that_is_not_needed_any_more_or_was_told_half_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    path.write_bytes(OURS)
    with guarded({path: OLD}, [PROXY], os.open(tmp_path, os.O_RDONLY)):
        pass
    subprocess.run([sys.executable, crash_guard.__file__, "0"], input=order_to_restore({path: OLD}, [PROXY])[:-9], check=True)
    assert path.read_bytes() == OURS


def test_a_guard_that_was_killed_itself_troubles_nobody(tmp_path: Path) -> None:
    with guarded({tmp_path / "uv.lock": OLD}, [PROXY], os.open(tmp_path, os.O_RDONLY)) as guard:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
        for each in children:
            if crash_guard.__file__.encode() in Path(f"/proc/{each}/cmdline").read_bytes():
                os.kill(int(each), signal.SIGKILL)
                os.waitid(os.P_PID, int(each), os.WEXITED | os.WNOWAIT)
        guard.uv_runs(1)


# One run at a time


async def test_one_run_at_a_time_by_whichever_link_and_other_folders_do_not_wait(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.mkdir()
    (link / "uv.lock").symlink_to(real / "uv.lock")
    heard: list[str] = []
    async with only_run(real / "uv.lock", heard.append):
        async with only_run(tmp_path / "uv.lock", heard.append):
            assert not heard
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), only_run(link / "uv.lock", heard.append):
                pytest.fail("two at once")
        assert len(heard) == 1
    async with only_run(link / "uv.lock", heard.append):
        assert len(heard) == 1
    assert not list(real.iterdir())


async def test_a_folder_that_cannot_be_locked_is_stood_for_by_a_file_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.locking.exclusion._open_folder", lambda _: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "project").mkdir()
    heard: list[str] = []
    async with only_run(tmp_path / "project" / "uv.lock", heard.append):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), only_run(tmp_path / "project" / "uv.lock", heard.append):
                pytest.fail("two at once")
    assert len(heard) == 1
    assert not list((tmp_path / "project").iterdir())
    assert len(list((tmp_path / "temporary").iterdir())) == 1


async def test_no_link_of_somebody_else_is_followed_to_the_file_that_stands_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.locking.exclusion._open_folder", lambda _: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    async with only_run(tmp_path / "uv.lock", lambda _: None):
        (file,) = (tmp_path / "temporary").iterdir()
    file.unlink()
    file.symlink_to(tmp_path / "made")
    with pytest.raises(LockFailed, match="cannot be kept for one run at a time"):
        async with only_run(tmp_path / "uv.lock", lambda _: None):
            pytest.fail("by a link")
    assert not (tmp_path / "made").exists()


async def test_a_lock_that_is_a_link_to_itself_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").symlink_to("uv.lock")
    with pytest.raises(LockFailed, match=r"uv\.lock is a link to itself; remove it"):
        async with only_run(tmp_path / "uv.lock", lambda _: None):
            pytest.fail("nowhere")


# What is asked of uv


@pytest.mark.parametrize(
    ("arguments", "environ", "errand"),
    [
        ((), {}, Errand.WRITE),
        (("-U",), {"UV_LOCKED": "0", "UV_FROZEN": "false"}, Errand.WRITE),
        (("--check",), {}, Errand.COMPARE),
        (("-q", "--locked"), {"UV_FROZEN": "1"}, Errand.COMPARE),
        ((), {"UV_LOCKED": "True"}, Errand.COMPARE),
        (("--dry-run",), {}, Errand.DRY_RUN),
        (("--frozen",), {"UV_LOCKED": "1"}, Errand.LOOK),
        ((), {"UV_FROZEN": "yes"}, Errand.LOOK),
        (("--help",), {}, Errand.LOOK),
        (("-qh",), {}, Errand.LOOK),
        (("-qU",), {}, Errand.WRITE),
        (("-Ph",), {}, Errand.WRITE),
    ],
)
def test_the_kind_of_a_run_is_known_as_uv_knows_it(arguments: tuple[str, ...], environ: dict[str, str], errand: Errand) -> None:
    assert errand_of(arguments, environ) is errand


def test_arguments_for_uv_are_taken_apart() -> None:
    assert without_dry_run(["-U", "--dry-run"]) == ["-U"]
    assert script_of(["-U", "--script", "a.py", "-q"]) == (Path("a.py"), ["-U", "-q"])
    assert script_of(["--script=a.py"]) == (Path("a.py"), [])
    assert script_of(["--script"]) == (None, ["--script"])


def test_what_leads_uv_elsewhere_is_honoured_and_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    environ = {
        "UV_WORKING_DIR": "a",
        "UV_WORKING_DIRECTORY": "nowhere",
        "UV_PROJECT": "b",
        "UV_CONFIG_FILE": "../x.toml",
        "UV_CACHE_DIR": "c",
    }
    location = UvLocation.of(None, None, environ)
    assert (location.directory, location.folder) == (tmp_path / "a", tmp_path / "a" / "b")
    assert location.environ == {"UV_CONFIG_FILE": str(tmp_path / "x.toml"), "UV_CACHE_DIR": "c"}
    assert location.arguments == ("--project", str(tmp_path / "a" / "b"))
    assert UvLocation.of(Path("../z/.."), None, environ).folder == tmp_path
    (tmp_path / "pyproject.toml").touch()
    assert UvLocation.of(Path("../pyproject.toml"), None, environ).folder == tmp_path
    assert UvLocation.of(Path("~nosuchuser"), None, {}).folder == tmp_path / "~nosuchuser"


def test_a_current_folder_that_was_removed_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(NoProject, match="the current folder was removed; change to another one"):
        UvLocation.of(None, None, {})


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("# /// script\n# [tool.uv]\n# index-url = 'x'\n# ///\n", ["x"]),
        ("#!/usr/bin/env python\r\n# /// script\r\n#\r\n# [tool.uv]\r\n# index-url = 'x'\r\n# ///\r\nprint()\r\n", ["x"]),
        ("# /// other\n# [tool.uv]\n# index-url = 'x'\n# ///\n", []),
        ("# /// script\n# dependencies = []\n# ///\n", []),
        ("print()\n", []),
    ],
)
def test_the_settings_of_a_script_come_first(tmp_path: Path, text: str, urls: list[str]) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.uv]\nindex-url = 'project'\n", encoding="utf-8")
    script = tmp_path / "tool.py"
    script.write_bytes(text.encode())
    project = Project.of_script(script, tmp_path)
    assert project.lock == tmp_path / "tool.py.lock"
    assert [table["index-url"] for _, table in project.settings({}) if "index-url" in table] == [*urls, "project"]
    assert json.dumps(project.settings({"UV_NO_CONFIG": "1"})).count("index-url") == len(urls)
