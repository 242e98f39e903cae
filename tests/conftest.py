"""What every test stands on: no way out but loopback, a clean environment, and the stand-ins."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from proxy.config import Settings
from tests.clients import Pip, Uv
from tests.clock import Clock
from tests.dial_guard import DialGuard
from tests.mirror import BrokenMirror
from tests.programs import Programs
from tests.redis_server import RedisServer

# A busy machine is slow: that is no failure.
hypothesis_settings.register_profile("mirrormend", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("mirrormend")

# Each test runs without what this machine is set up with. To install what some of them run is the machine's own matter.
_MACHINE = dict(os.environ)
_SETTINGS_OF_THE_MACHINE = ("MIRRORMEND_", "UV_", "PIP_", "SSL_CERT_", "POETRY_", "PDM_")
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy", "netrc", "requests_ca_bundle", "curl_ca_bundle"}

Client: TypeAlias = TestClient[web.Request, web.Application]
MakeClient: TypeAlias = Callable[..., Awaitable[Client]]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis of the test's own."""
    server = RedisServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def dial_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[DialGuard]:
    """Lets the test reach loopback only."""
    guard = DialGuard()
    guard.install(monkeypatch)
    yield guard
    guard.verify()


@pytest.fixture(autouse=True, scope="session")
def _children_hear_ctrl_c() -> Iterator[None]:
    """Let the programs that tests start have SIGINT's default where this process ignores it, as `nohup … &` in a shell makes it do.

    Who ignores a signal hands that down to its children; what a handler takes they have by default (POSIX, execve). This one does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(_SETTINGS_OF_THE_MACHINE) or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.removeprefix("XDG_").removesuffix("_HOME").lower()))


@pytest.fixture(autouse=True)
def _plain_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    configure = structlog.configure
    # A logger that keeps its configuration would write the next test's lines to this test's stream.
    monkeypatch.setattr(structlog, "configure", lambda **chosen: configure(**(chosen | {"cache_logger_on_first_use": False})))
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def mirror() -> AsyncIterator[BrokenMirror]:
    """A running stand-in for a mirror, which lists nothing yet."""
    async with BrokenMirror() as running:
        yield running


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Other mirrors and clients, installed when they are asked for, and gone after the run: pytest would keep those of three."""
    folder = tmp_path_factory.mktemp("programs")
    yield Programs(folder, _MACHINE)
    shutil.rmtree(folder)


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """The real uv, with an empty cache."""
    return Uv(tmp_path)


@pytest.fixture
def pip(tmp_path: Path) -> Pip:
    """The real pip, in a virtual environment of its own."""
    return Pip(tmp_path)


@pytest.fixture
async def app_client(mirror: BrokenMirror) -> AsyncIterator[MakeClient]:
    """Gives `make(**sections)`: the application before `mirror`, with these settings, and a client of it.

    A section is a dict of its settings, such as `probe={"patience": 0}`; the store is in memory where nothing else is said.
    The application goes by `clock`, where a test sets one.
    """
    async with AsyncExitStack() as stack:

        async def make(clock: Clock | None = None, **sections: Any) -> Client:
            # Imported late, so that tests of single modules need no server.
            from proxy.server import create_app  # noqa: PLC0415

            upstream = {"url": mirror.url} | sections.pop("upstream", {})
            store = {"location": "memory"} | sections.pop("store", {})
            settings = Settings.model_validate({"upstream": upstream, "store": store, **sections})
            app = create_app(settings) if clock is None else create_app(settings, clock=clock, steady=clock)
            return await stack.enter_async_context(TestClient(TestServer(app)))

        yield make
