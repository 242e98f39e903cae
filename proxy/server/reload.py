"""Reading the settings again while the server runs, as SIGHUP asks for.

A reload either takes place as a whole or changes nothing. What a running process cannot change is kept as it was, and said.
"""

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import web

from proxy.config import Settings
from proxy.core.errors import MirrormendError
from proxy.server.access import ADMISSION, read_accounts_at_rest
from proxy.server.context import GENERATIONS
from proxy.server.counting import COUNTS
from proxy.telemetry import change_logging

_log = structlog.get_logger("mirrormend.server")

CHANGEABLE = ("upstream", "probe", "verdict", "reference", "rescue", "links", "access", "log")
"""Sections that a running server can change."""


async def reload(app: web.Application, load: Callable[[], Settings]) -> None:
    """Puts what `load` gives in force, as far as that is possible; where it raises, all stays as it was, and the log says why."""
    current = app[GENERATIONS].current.settings
    try:
        wanted = await asyncio.to_thread(load)
        settings, left = changeable(current, wanted)
        accounts = await asyncio.to_thread(read_accounts_at_rest, settings.access)
        await app[GENERATIONS].change(settings)
        app[ADMISSION].change(settings.access, accounts)
    except (MirrormendError, OSError) as error:
        app[COUNTS].reloads["failed"] += 1
        _log.error("reload-failed", why=" ".join(str(error).split()), in_force="the settings as they were")
        return
    except Exception:  # noqa: BLE001 - whatever it is, the server goes on with what it has
        app[COUNTS].reloads["failed"] += 1
        _log.exception("reload-failed", in_force="the settings as they were")
        return
    change_logging(settings.log)
    if left:
        _log.warning("restart-needed", settings=left, meaning="these changed and cannot change while the server runs; restart it")
    app[COUNTS].reloads["restart-needed" if left else "done"] += 1
    _log.info("reloaded", changed=differing(current, settings), upstreams=[upstream.name for upstream in settings.upstream])


def changeable(current: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """Gives the `wanted` settings with the `current` ones where no running server can change them, and the names of these."""
    kept = {name: getattr(current, name) for name in Settings.model_fields if name not in CHANGEABLE}
    settings = wanted.model_copy(update=kept)
    return settings, differing(settings, wanted)


def differing(one: Settings, other: Settings) -> list[str]:
    """Names the settings that are not the same in both, as they stand in a file."""
    names: list[str] = []
    for section in Settings.model_fields:
        here, there = getattr(one, section), getattr(other, section)
        if here == there:
            continue
        if isinstance(here, tuple):
            names.append(f"[{section}]")
            continue
        keys = type(here).model_fields
        names += [f"[{section}] {key}" for key in keys if getattr(here, key) != getattr(there, key)]
    return names
