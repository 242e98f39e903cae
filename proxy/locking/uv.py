"""The real uv, as the user has it: its settings are respected, and only what leads it through the proxy is added."""

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from proxy.locking.errors import LockFailed
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
_PATIENCE = 10.0


def find_uv() -> str | None:
    """Gives the path of uv: the one on the PATH, else the one installed beside this Python; None where there is none."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def refused(arguments: Sequence[str]) -> str | None:
    """Gives the first of uv's options that cannot be passed on: those that name indexes, another project or other settings."""
    options = (argument.partition("=")[0] for argument in arguments)
    return next((option for option in options if option in _NOT_PASSED_ON or option[:2] == "-i"), None)


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


async def run_uv(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Runs `uv lock` in a folder, its words going where ours go, and gives its exit status; ends it where this is cancelled.

    Raises LockFailed where there is no uv.
    """
    uv = find_uv()
    if uv is None:
        raise LockFailed("uv is not found on the PATH", "install it, such as by: pip install uv")
    process = await asyncio.create_subprocess_exec(
        uv, "lock", *arguments, cwd=folder, env=dict(environment), stdin=asyncio.subprocess.DEVNULL
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
