"""The release of uv that locks: one that ignores the variables which lead it through the proxy would ask another index."""

import asyncio
import re
from contextlib import suppress

from packaging.version import Version

from proxy.locking.errors import LockFailed

OLDEST = Version("0.4.23")
"""The first release that reads UV_DEFAULT_INDEX and UV_INDEX."""

_SAID = re.compile(rb"uv (\d+\.\d+\.\d+)")
_PATIENCE = 10.0


async def refuse_too_old(uv: str) -> None:
    """Raise LockFailed if the uv at this path is older than `OLDEST`; what does not tell its version is taken to be newer."""
    version = await _version_of(uv)
    if version is not None and version < OLDEST:
        what = f"{uv} is uv {version}, which ignores UV_DEFAULT_INDEX and would not go through the proxy"
        raise LockFailed(what, f"install uv {OLDEST} or newer, such as by: pip install --upgrade uv")


async def _version_of(uv: str) -> Version | None:
    try:
        process = await asyncio.create_subprocess_exec(
            uv, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        # Running it for the lock tells why.
        return None
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    found = _SAID.match(said)
    return None if found is None else Version(found[1].decode())
