"""From the settings to the store that they ask for."""

import time
from collections.abc import Callable
from pathlib import Path

import platformdirs
import structlog

from proxy.config.sections import StoreSection
from proxy.core.errors import MirrormendError
from proxy.store.backend import Backend
from proxy.store.memory import BoundedMemory
from proxy.store.sqlite.backend import SqliteBackend
from proxy.store.store import Store

_log = structlog.get_logger("mirrormend.store")


class StoreMisconfigured(MirrormendError):
    """The location of the store cannot be used as it is written, or without a package that is not installed: `why`."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __str__(self) -> str:
        return f"the store cannot be set up: {self.why}"


def open_store(section: StoreSection, *, shared: bool = False, clock: Callable[[], float] = time.time) -> Store:
    """Builds the store that `section` asks for; it is opened by its `open`.

    `shared` says that replicas use the same file; that they use the same Redis is always to be expected.
    Raises StoreMisconfigured. `clock` gives seconds since the epoch.
    """
    return Store(BoundedMemory(section.memory_limit, clock=clock), _backend(section, shared, clock), clock=clock)


def _backend(section: StoreSection, shared: bool, clock: Callable[[], float]) -> Backend | None:
    location = section.location
    if location == "memory":
        return None
    if location.startswith(("redis://", "rediss://")):
        return _redis(location, clock)
    path = _in_cache_folder() if location == "sqlite" else _named(location.removeprefix("sqlite:"))
    if path is None:
        _log.warning("store-has-no-home", why="this user has no home folder; name a file with sqlite:PATH", going_on_with="memory")
        return None
    return SqliteBackend(path, section.disk_limit, shared=shared, clock=clock)


def _in_cache_folder() -> Path | None:
    # Without a home folder some releases of platformdirs raise, and others give a folder called "~".
    try:
        folder = platformdirs.user_cache_path("mirrormend")
    except RuntimeError:
        return None
    return folder / "store.sqlite3" if folder.is_absolute() else None


def _named(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise StoreMisconfigured(str(error)) from error


def _redis(url: str, clock: Callable[[], float]) -> Backend:
    try:
        from proxy.store.redis import RedisBackend  # noqa: PLC0415 - redis-py comes with an extra that most do not install
    except ImportError as error:
        raise StoreMisconfigured("Redis needs the extra: install mirrormend[redis]") from error
    try:
        return RedisBackend(url, clock=clock)
    except ValueError as error:
        # The error may quote the address, and the address may hold a password.
        raise StoreMisconfigured("its Redis address cannot be understood; write redis://HOST:PORT/DB") from error
