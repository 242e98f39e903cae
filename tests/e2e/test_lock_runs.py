"""`mirrormend lock` as a process, with the real uv: where it locks, what it leaves, and what it does beside others."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients import Completed, Uv, read_lock, write_project
from tests.e2e.test_lock_command import Mirrormend, index, nothing_is_left
from tests.faults import Target
from tests.mirror import BrokenMirror
from tests.waiting import until

WHEEL, OLDER, OTHER = "storm-6.4.2-py3-none-any.whl", "storm-6.4.1-py3-none-any.whl", "other-1.0-py3-none-any.whl"


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """The real uv, which reads pyproject.toml as users' does."""
    uv = Uv(tmp_path)
    del uv.environment["UV_NO_CONFIG"]
    return uv


@pytest.fixture
def mend(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> Mirrormend:
    """The command in a project that needs storm, from a mirror that lists a wheel of it that it does not deliver."""
    mirror.add("storm-6.4.2-cp39-abi3-macosx_10_9_universal2.whl", None)
    for name in (WHEEL, OLDER, OTHER):
        mirror.add(name)
    return Mirrormend(uv, needing(mirror, tmp_path / "project", "storm"))


def needing(mirror: BrokenMirror, folder: Path, *names: str) -> Path:
    return write_project(folder, list(names), extra=index(mirror.url))


def locked(lock: Path, mirror: BrokenMirror) -> set[str]:
    """Return the files that the lock names; it names the mirror and no other address."""
    text = lock.read_text(encoding="utf-8")
    assert text.count("http://") == text.count(mirror.origin)
    return set(read_lock(lock)[1])


class Begun:
    """A run whose uv waits for the page of other, which the mirror holds back until it is told to send it."""

    def __init__(self, process: asyncio.subprocess.Process, opened: asyncio.Event) -> None:
        self.process = process
        self._opened = opened

    async def ends(self, how: signal.Signals | None = None) -> int:
        """Let the page come, or end the run by a signal; return its status."""
        if how is not None:
            os.kill(self.process.pid, how)
            status = await self.process.wait()
        self._opened.set()
        return await self.process.wait() if how is None else status


async def begun(mend: Mirrormend, mirror: BrokenMirror, *, start_new_session: bool = False) -> Begun:
    opened, asked = asyncio.Event(), asyncio.Event()

    async def held(_: Target) -> None:
        asked.set()
        await opened.wait()

    mirror.fault("page:other", held)
    process = await asyncio.create_subprocess_exec(
        *mend.arguments(),
        env=mend.environment,
        cwd=mend.project,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=start_new_session,
    )
    await until(lambda: process.returncode is not None or asked.is_set(), within=30)
    assert process.returncode is None
    return Begun(process, opened)


async def said(process: asyncio.subprocess.Process, words: bytes) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while words not in await process.stderr.readline():
            assert not process.stderr.at_eof()


# One run at a time


async def test_a_second_run_waits_and_begins_with_what_the_first_one_left(mirror: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock("--", "--upgrade-package", "storm==6.4.1")).ok
    needing(mirror, mend.project, "storm", "other")
    first = await begun(mend, mirror)
    second = await asyncio.create_subprocess_exec(
        *mend.arguments("--", "--upgrade-package", "unheard-of>=2"), env=mend.environment, cwd=mend.project, stderr=asyncio.subprocess.PIPE
    )
    await said(second, b"mirrormend: another mirrormend lock works in ")
    assert await first.ends() == 0
    assert await second.wait() == 0
    assert locked(mend.file, mirror) == {OLDER, OTHER}
    nothing_is_left(mend.project)


async def test_a_run_that_waited_reads_the_project_as_it_is_by_then(mirror: BrokenMirror, mend: Mirrormend, tmp_path: Path) -> None:
    needing(mirror, mend.project, "storm", "other")
    first = await begun(mend, mirror)
    write_project(mend.project, ["other"], extra=index("http://127.0.0.1:9/simple/"))
    second = await asyncio.create_subprocess_exec(*mend.arguments(), env=mend.environment, cwd=mend.project, stderr=asyncio.subprocess.PIPE)
    await said(second, b"mirrormend: another mirrormend lock works in ")
    needing(mirror, mend.project, "other")
    assert await first.ends() == 0
    _, rest = await second.communicate()
    assert second.returncode == 0, rest
    assert locked(mend.file, mirror) == {OTHER}


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_who_waits_can_give_up_and_changes_nothing(
    mirror: BrokenMirror, mend: Mirrormend, tmp_path: Path, ending: signal.Signals, status: int
) -> None:
    needing(mirror, mend.project, "storm", "other")
    first = await begun(mend, mirror)
    # The same project, by another way.
    (tmp_path / "link").symlink_to(mend.project)
    for words in (("--project", str(tmp_path / "link")), ("--to", "mirror"), ("--check",)):
        second = await asyncio.create_subprocess_exec(
            *mend.arguments(*words), env=mend.environment, cwd=mend.project, stderr=asyncio.subprocess.PIPE
        )
        await said(second, b"another mirrormend lock works in ")
        os.kill(second.pid, ending)
        _, rest = await second.communicate()
        assert (second.returncode, rest.strip()) == (status, b"")
    assert await first.ends() == 0
    assert locked(mend.file, mirror) == {WHEEL, OTHER}


async def test_a_lock_that_somebody_else_changed_meanwhile_stays(mirror: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    run = await begun(mend, mirror)
    mend.file.write_bytes(b"# from another branch\n" + made)
    assert await run.ends(signal.SIGTERM) == 143
    assert mend.file.read_bytes() == b"# from another branch\n" + made


@pytest.mark.parametrize("with_lock", [True, False])
async def test_a_killed_run_leaves_the_lock_as_it_was(mirror: BrokenMirror, mend: Mirrormend, with_lock: bool) -> None:
    if with_lock:
        assert (await mend.lock()).ok
    made = mend.file.read_bytes() if with_lock else None
    needing(mirror, mend.project, "storm", "other")
    run = await begun(mend, mirror)
    assert await run.ends(signal.SIGKILL) == -signal.SIGKILL
    # It waits until the killed one's guard has done its work.
    checked = await mend.lock("--check")
    assert checked.returncode == (0 if with_lock else 1)
    assert (mend.file.read_bytes() if mend.file.exists() else None) == made
    nothing_is_left(mend.project)
    assert (await mend.lock()).ok
    assert locked(mend.file, mirror) == {WHEEL, OTHER}


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGKILL, 137), (signal.SIGTERM, 143)])
async def test_where_uv_was_killed_the_status_says_so(mirror: BrokenMirror, mend: Mirrormend, ending: signal.Signals, status: int) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    run = await begun(mend, mirror)
    os.kill(uv_of(run.process.pid), ending)
    assert await run.process.wait() == status
    assert mend.file.read_bytes() == made


def uv_of(process: int) -> int:
    (uv,) = [int(each) for each in children_of(process) if is_uv(each)]
    return uv


def children_of(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()


def is_uv(process: str) -> bool:
    return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[1:2] == [b"lock"]


WRAPPED = '#!/bin/sh\n[ "$1" = --version ] && exec "$REAL_UV" --version\n{}\n'
STUBBORN = {
    "a wrapper that waits": '"$REAL_UV" "$@"\nexit $?',
    "a wrapper that leaves uv alone": '"$REAL_UV" "$@" &\necho $! > "$PIDS"\nwait $!\nexit $?',
    "a uv that is deaf": 'trap "" TERM INT HUP\nexec "$REAL_UV" "$@"',
}
KEYS = [(signal.SIGTERM,), (signal.SIGINT,) * 20, (signal.SIGKILL,)]


def put_first(folder: Path, mend: Mirrormend, uv: Uv, words: str) -> dict[str, str]:
    """Put a uv before the real one; return the variables that it needs."""
    folder.mkdir()
    (folder / "uv").write_text(WRAPPED.format(words), encoding="utf-8")
    (folder / "uv").chmod(0o755)
    return {"PATH": f"{folder}:{mend.environment['PATH']}", "REAL_UV": uv.command, "PIDS": str(folder / "pids")}


@pytest.mark.parametrize("keys", KEYS, ids=[f"{keys[0].name} x {len(keys)}" for keys in KEYS])
@pytest.mark.parametrize("uv_is", STUBBORN)
async def test_no_uv_outlives_a_run_that_was_ended_and_writes_a_lock_later(
    mirror: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path, uv_is: str, keys: tuple[signal.Signals, ...]
) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    mend.environment |= put_first(tmp_path / "bin", mend, uv, STUBBORN[uv_is])
    run = await begun(mend, mirror)
    started = uvs_of(mend.project)
    assert started
    for each in keys:
        if run.process.returncode is None:
            os.kill(run.process.pid, each)
        await asyncio.sleep(0.002)
    status = await run.process.wait()
    assert status == (-keys[0] if keys[0] is signal.SIGKILL else 128 + keys[0])
    # It waits for the guard of a killed one.
    assert (await mend.lock("--check")).ok
    assert uvs_of(mend.project) == []
    assert mend.file.read_bytes() == made
    nothing_is_left(mend.project)


def uvs_of(project: Path) -> list[str]:
    """Return the processes of uv that lock this project."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (each / "cmdline").read_bytes().split(b"\0")
            if b"lock" in words and os.fsencode(project) in words and b"proxy" not in words:
                found.append(each.name)
    return found


async def test_a_uv_whose_wrapper_was_killed_is_ended(mirror: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    mend.environment |= put_first(tmp_path / "bin", mend, uv, STUBBORN["a wrapper that waits"])
    run = await begun(mend, mirror)
    (wrapper,) = set(uvs_of(mend.project)) & set(children_of(run.process.pid))
    os.kill(int(wrapper), signal.SIGTERM)
    assert await run.process.wait() == 143
    assert uvs_of(mend.project) == []
    assert mend.file.read_bytes() == made


async def test_all_processes_of_a_terminal_may_be_killed_at_once(mirror: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    run = await begun(mend, mirror, start_new_session=True)
    os.killpg(run.process.pid, signal.SIGKILL)
    await run.process.wait()
    assert (await mend.lock("--check")).ok
    assert mend.file.read_bytes() == made


# Where it locks

ELSEWHERE = [
    ({"UV_WORKING_DIR": "../there"}, ()),
    ({"UV_WORKING_DIR": "{there}"}, ()),
    ({"UV_WORKING_DIRECTORY": "../there"}, ()),
    ({"UV_WORKING_DIR": "../there", "UV_WORKING_DIRECTORY": "../project"}, ()),
    ({"UV_PROJECT": "../there"}, ()),
    ({"UV_PROJECT": "{there}/pyproject.toml"}, ()),
    ({"UV_WORKING_DIR": "..", "UV_PROJECT": "there"}, ()),
    ({"UV_WORKING_DIR": "..", "UV_PROJECT": "project"}, ("--project", "there")),
    ({"UV_PROJECT": "."}, ("--project", "{there}")),
    ({"UV_WORKING_DIR": "."}, ("--project", "../project/../there/src")),
]


@pytest.mark.parametrize(("variables", "words"), ELSEWHERE, ids=[" ".join((*variables, *words)) for variables, words in ELSEWHERE])
async def test_it_locks_where_uv_does_with_these_variables_and_nowhere_else(
    mirror: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path, variables: dict[str, str], words: tuple[str, ...]
) -> None:
    mirror.remove("storm-6.4.2-cp39-abi3-macosx_10_9_universal2.whl")
    there = needing(mirror, tmp_path / "there", "other")
    (there / "src").mkdir()
    given = {name: value.format(there=there) for name, value in variables.items()}
    typed = [word.format(there=there) for word in words]
    direct = await uv.run("lock", *typed, cwd=mend.project, **given)
    assert direct.ok, direct
    by_uv = (there / "uv.lock").read_bytes()
    (there / "uv.lock").unlink()
    done = await mend.lock(*typed, **given)
    assert done.ok, done
    assert (there / "uv.lock").read_bytes() == by_uv
    assert not mend.file.exists()
    for check in (("--check",), ("--to", "mirror")):
        assert (await mend.lock(*typed, *check, **given)).ok


async def test_a_relative_settings_file_is_read_from_where_uv_reads_it(mirror: BrokenMirror, mend: Mirrormend, tmp_path: Path) -> None:
    there = write_project(tmp_path / "there", ["other"])
    (tmp_path / "settings.toml").write_text(f'index-url = "{mirror.url}"\n', encoding="utf-8")
    done = await mend.lock(UV_WORKING_DIR="../there", UV_CONFIG_FILE="../settings.toml")
    assert done.ok, done
    assert locked(there / "uv.lock", mirror) == {OTHER}


async def test_a_working_directory_that_is_not_there_is_told_so(mend: Mirrormend) -> None:
    done = await mend.lock(UV_WORKING_DIR="nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no such folder; correct UV_WORKING_DIR" in done.stderr


WRAPPERS = {
    "there is no": "exit 0",
    "uv locked": 'exec "$REAL_UV" lock --project ..',
}


@pytest.mark.parametrize("said", WRAPPERS)
async def test_without_the_lock_that_was_asked_for_success_is_an_error_and_other_locks_are_as_before(
    mirror: BrokenMirror, uv: Uv, mend: Mirrormend, tmp_path: Path, said: str
) -> None:
    needing(mirror, tmp_path, "other")
    (tmp_path / "uv.lock").write_text('version = 1\nrequires-python = ">=3.11"\n', encoding="utf-8")
    before = (tmp_path / "uv.lock").read_bytes()
    programs = tmp_path / "bin"
    programs.mkdir()
    wrapper = f'#!/bin/sh\nif [ "$1" = --version ]; then exec "$REAL_UV" --version; fi\n{WRAPPERS[said]}\n'
    (programs / "uv").write_text(wrapper, encoding="utf-8")
    (programs / "uv").chmod(0o755)
    done = await mend.lock(PATH=f"{programs}:{mend.environment['PATH']}", REAL_UV=uv.command)
    assert done.returncode == 1, done
    assert f"mirrormend: {said}" in done.stderr or f"mirrormend: uv ended without an error, and {said}" in done.stderr
    assert (tmp_path / "uv.lock").read_bytes() == before
    assert not mend.file.exists()


# Runs that are not to write


@pytest.mark.parametrize("how", ["--check", "--locked", "--dry-run", "UV_LOCKED"])
async def test_a_run_that_is_not_to_write_tells_by_its_status_whether_the_lock_would_differ(
    mirror: BrokenMirror, mend: Mirrormend, how: str
) -> None:
    async def look() -> Completed:
        before = mend.file.read_bytes() if mend.file.exists() else None
        done = await (mend.lock(UV_LOCKED="1") if how == "UV_LOCKED" else mend.lock("--", how))
        assert (mend.file.read_bytes() if mend.file.exists() else None) == before
        nothing_is_left(mend.project)
        return done

    assert (await look()).returncode == 1
    assert (await mend.lock()).ok
    assert (await look()).ok
    fits = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    assert (await look()).returncode == 1
    needing(mirror, mend.project, "storm")
    # uv is content with this one, once it leads through the proxy.
    mend.file.write_bytes(fits.replace(mirror.url.encode(), b"http://127.0.0.1:20001/simple/"))
    assert (await look()).returncode == 1
    mend.file.write_bytes(fits)
    needing(mirror, mend.project, "unheard-of")
    assert (await look()).returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--locked", "--refresh"),
        ("--check", "--upgrade-package", "storm"),
        ("--check", "--refresh-package", "storm"),
        ("--check", "--upgrade"),
        ("--dry-run", "--upgrade"),
        ("--dry-run", "--refresh"),
        ("--dry-run", "--upgrade-package", "storm==6.4.1"),
    ],
)
async def test_a_lock_that_uv_resolves_anew_to_the_same_is_not_accused(
    mirror: BrokenMirror, mend: Mirrormend, uv: Uv, words: tuple[str, ...]
) -> None:
    mirror.remove("storm-6.4.2-cp39-abi3-macosx_10_9_universal2.whl")
    assert (await mend.lock()).ok
    fits = mend.file.read_bytes()
    direct = await uv.run("lock", *words, cwd=mend.project)
    done = await mend.lock("--", *words)
    # uv's own status of a dry run is 0 whatever would change.
    changes = "storm==6.4.1" in words
    assert done.returncode == (1 if changes else direct.returncode), done
    assert ("uv.lock would change: change it: mirrormend lock" in done.stderr) == changes
    assert mend.file.read_bytes() == fits


async def test_a_dry_run_undoes_a_lock_that_names_no_index(mirror: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    fits = mend.file.read_bytes()
    needing(mirror, mend.project)
    for before in (fits, None):
        if before is None:
            mend.file.unlink()
        assert (await mend.lock("--", "--dry-run")).returncode == 1
        assert (mend.file.read_bytes() if mend.file.exists() else None) == before


@pytest.mark.parametrize("how", ["--check-exists", "--frozen", "UV_FROZEN"])
async def test_to_ask_for_the_lock_alone_is_uvs_matter(mirror: BrokenMirror, mend: Mirrormend, how: str) -> None:
    async def look() -> int:
        return (await (mend.lock(UV_FROZEN="true") if how == "UV_FROZEN" else mend.lock("--", how))).returncode

    assert await look() == 1
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    needing(mirror, mend.project, "storm", "other")
    mirror.forget()
    assert await look() == 0
    assert mend.file.read_bytes() == made
    assert not mirror.asked


# Scripts


def script(path: Path, mirror: BrokenMirror | None, *names: str) -> Path:
    settings = [] if mirror is None else ["[[tool.uv.index]]", f'url = "{mirror.url}"', "default = true"]
    lines = ["/// script", 'requires-python = ">=3.11"', f"dependencies = {list(names)!r}", *settings, "///"]
    path.write_text("".join(f"# {line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("words", [("--script", "tool.py"), ("--", "--script", "tool.py"), ("--", "--script=tool.py")])
async def test_a_script_is_locked_beside_it_from_the_index_in_its_metadata(
    mirror: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    file = script(folder / "tool.py", mirror, "storm")
    lock = folder / "tool.py.lock"
    direct = await uv.run("lock", "--script", str(file), cwd=folder)
    assert not direct.ok
    done = await mend.lock(*words, cwd=folder)
    assert done.ok, done
    assert locked(lock, mirror) == {WHEEL}
    assert f"mirrormend: tool.py.lock names {mirror.url}" in done.stderr
    assert {each.name for each in folder.iterdir()} == {"tool.py", "tool.py.lock"}
    assert (await uv.run("lock", "--script", str(file), "--check", cwd=folder)).ok
    script(file, mirror, "storm", "other")
    made = lock.read_bytes()
    assert (await mend.lock("--script", "tool.py", "--", "--check", cwd=folder)).returncode == 1
    assert lock.read_bytes() == made
    assert (await mend.lock("--check", "--script", str(file))).ok


async def test_a_script_without_settings_takes_those_of_the_project_that_uv_is_called_in(
    mirror: BrokenMirror, mend: Mirrormend, tmp_path: Path
) -> None:
    file = script(tmp_path / "tool.py", None, "other")
    done = await mend.lock("--script", "../tool.py")
    assert done.ok, done
    assert locked(tmp_path / "tool.py.lock", mirror) == {OTHER}
    assert not mend.file.exists()
    none = await mend.lock("--script", f"{file}x")
    assert (none.returncode, none.stderr.count("\n")) == (2, 1)
    assert "there is no such script" in none.stderr


# What uv does by itself


async def test_what_the_command_advises_for_uv_add_sync_and_run_works_at_a_broken_mirror(
    mirror: BrokenMirror, mend: Mirrormend, uv: Uv
) -> None:
    needing(mirror, mend.project, "other")
    made = await mend.lock()
    assert made.ok, made
    assert "uv add, remove, sync and run lock by themselves" in made.stderr
    alone = await uv.run("add", "storm", cwd=mend.project)
    assert not alone.ok
    assert (await uv.run("add", "--frozen", "storm", cwd=mend.project)).ok
    assert (await mend.lock()).ok
    again = await mend.lock()
    assert "note: uv add" not in again.stderr
    for words in (("sync", "--locked"), ("run", "--locked", "python", "-c", "import storm"), ("sync", "--frozen")):
        done = await uv.run(*words, cwd=mend.project)
        assert done.ok, done
    assert (await uv.run("remove", "--frozen", "storm", cwd=mend.project)).ok
    assert (await mend.lock()).ok
    assert locked(mend.file, mirror) == {OTHER}
