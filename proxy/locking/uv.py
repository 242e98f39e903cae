"""The real uv, as the user has it: its settings are respected, and only what leads it through the proxy is added."""

import asyncio
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

from proxy.locking.errors import LockFailed
from proxy.locking.guarding import CrashGuard
from proxy.locking.project import is_true
from proxy.locking.serving import HOST

_NOT_PASSED_ON = (
    "--default-index",
    "--index",
    "--index-url",
    "-i",
    "--extra-index-url",
    "--no-index",
    "--project",
    "--directory",
    "--script",
    "--config-file",
    "--no-config",
)


class Errand(Enum):
    """The kind of a `uv lock`: it writes the lock, compares it, tells what would change, or does neither resolve nor write."""

    WRITE = "write"
    COMPARE = "compare"
    DRY_RUN = "dry run"
    LOOK = "look"


KILLED = 128
"""Exit statuses above this one tell of a signal."""

_UNTIL_KILLED = 10.0
_SHORT_QUESTION = re.compile(r"-[nqvU]*[hV]")
"""`-h` or `-V`, also joined with options that take no value."""

_OPTIONS_OF_ERRANDS = {
    Errand.LOOK: {"--frozen", "--check-exists", "--help", "-h", "--version", "-V"},
    Errand.COMPARE: {"--check", "--locked"},
    Errand.DRY_RUN: {"--dry-run"},
}


def find_uv() -> str | None:
    """Gives the path of uv: the one on the PATH, else the one installed beside this Python; None where there is none."""
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    # The PATH may name folders from here on, and uv starts elsewhere.
    return None if found is None else str(Path(found).absolute())


def refused(arguments: Sequence[str]) -> str | None:
    """Gives the first of uv's options that cannot be passed on: those that name indexes, another project or other settings."""
    options = (argument.partition("=")[0] for argument in arguments)
    return next((option for option in options if option in _NOT_PASSED_ON or option[:2] == "-i"), None)


def script_of(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the script that the arguments name, and the others."""
    rest, script = list(arguments), None
    for at, argument in enumerate(arguments):
        option, mark, value = argument.partition("=")
        if option == "--script" and (mark or at + 1 < len(arguments)):
            script = Path(value if mark else arguments[at + 1])
            del rest[at : at + (1 if mark else 2)]
            break
    return script, rest


def errand_of(arguments: Sequence[str], environ: Mapping[str, str]) -> Errand:
    """Return the kind of the `uv lock` with these arguments: options come before UV_LOCKED and UV_FROZEN, as in uv."""
    words = {f"-{each[-1]}" if _SHORT_QUESTION.fullmatch(each) else each for each in arguments}
    for errand, options in _OPTIONS_OF_ERRANDS.items():
        if words & options:
            return errand
    if is_true(environ.get("UV_LOCKED", "")):
        return Errand.COMPARE
    return Errand.LOOK if is_true(environ.get("UV_FROZEN", "")) else Errand.WRITE


def without_dry_run(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a dry run for a run that writes."""
    return [each for each in arguments if each != "--dry-run"]


def environment_of(environ: Mapping[str, str], added: Mapping[str, str], without: frozenset[str], *, loopback: bool) -> dict[str, str]:
    """Gives uv's environment; with `loopback` no outbound proxy stands before the proxy on this machine."""
    kept = {name: value for name, value in environ.items() if name not in without} | dict(added)
    if loopback:
        # uv reads the upper-case variable first, and what it runs (git, build backends) the lower-case one.
        upper, lower = environ.get("NO_PROXY") or environ.get("no_proxy", ""), environ.get("no_proxy") or environ.get("NO_PROXY", "")
        kept["NO_PROXY"] = _with_host(upper)
        # To curl and Python a star counts only where nothing else is said.
        kept["no_proxy"] = lower if lower.strip() == "*" else _with_host(lower)
    return kept


def _with_host(exceptions: str) -> str:
    return ",".join(filter(None, (exceptions, HOST)))


async def run_uv(
    arguments: Sequence[str], directory: Path, environment: Mapping[str, str], guard: CrashGuard | None = None, *, quiet: bool = False
) -> int:
    """Run `uv lock` at a directory and return its exit status, 128 and the signal where it was killed; end it where this is cancelled.

    Its output goes the way of ours, or nowhere if `quiet`. Raise LockFailed where there is no uv.
    """
    uv = find_uv()
    if uv is None:
        raise LockFailed("uv is not found on the PATH", "install it, such as by: pip install uv")
    output = asyncio.subprocess.DEVNULL if quiet else None
    try:
        process = await asyncio.create_subprocess_exec(
            uv,
            "lock",
            *arguments,
            cwd=directory,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=() if guard is None else guard.inherited,
        )
    except OSError as error:
        raise LockFailed(f"{uv} cannot be run ({error.strerror})", "see that it is uv for this machine") from error
    if guard is not None:
        guard.uv_runs(process.pid)
    try:
        status = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)
    if status < 0:
        return KILLED - status
    if guard is not None and status <= KILLED:
        guard.uv_runs(None)
    return status


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_UNTIL_KILLED):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
