"""Several mirrors behind one proxy: each at an address of its own, with settings of its own, and untouched by what befalls the others."""

import asyncio
import base64
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import trustme
from aiohttp.test_utils import TestClient, TestServer

from proxy.config import Settings
from proxy.config.sections import RESERVED_NAMES
from proxy.server.app import create_app
from proxy.server.context import INDEXES
from tests.clients import Uv, write_project
from tests.conftest import Client
from tests.faults import ANYTHING, artifactory_404, hang, status
from tests.listing import content_by_name
from tests.mirror import BrokenMirror

JSON = "application/vnd.pypi.simple.v1+json"
ONE = "demo-1.0-py3-none-any.whl"
TWO = "demo-2.0-py3-none-any.whl"
MAC = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"

Front = Callable[..., Awaitable[Client]]


@pytest.fixture
async def second() -> AsyncIterator[BrokenMirror]:
    async with BrokenMirror() as running:
        yield running


@pytest.fixture
async def front(mirror: BrokenMirror, second: BrokenMirror) -> AsyncIterator[Front]:
    """Gives `make(first, team, **sections)`: the proxy before two mirrors, the second one called `team`, with these settings of theirs."""
    async with AsyncExitStack() as stack:

        async def make(first: dict[str, Any] | None = None, team: dict[str, Any] | None = None, **sections: Any) -> Client:
            upstream = [{"url": mirror.url} | (first or {}), {"name": "team", "url": second.url} | (team or {})]
            app = create_app(Settings.model_validate({"store": {"location": "memory"}, **sections, "upstream": upstream}))
            return await stack.enter_async_context(TestClient(TestServer(app)))

        yield make


async def files(client: Client, simple: str = "/simple", project: str = "demo") -> dict[str, str]:
    """Names and absolute addresses of the files on a page."""
    async with client.get(f"{simple}/{project}/", headers={"Accept": JSON}) as response:
        assert response.status == 200, await response.text()
        page = await response.json(content_type=JSON)
        return {file["filename"]: urljoin(str(response.url), file["url"]) for file in page["files"]}


async def test_each_mirror_has_an_address_of_its_own_and_the_first_one_is_the_default(
    mirror: BrokenMirror, second: BrokenMirror, front: Front
) -> None:
    mirror.add(ONE)
    second.add(TWO)
    client = await front()
    assert list(await files(client)) == list(await files(client, "/default/simple")) == [ONE]
    theirs = await files(client, "/team/simple")
    assert list(theirs) == [TWO]
    assert urlsplit(theirs[TWO]).path == f"/team/files/demo/{TWO}"
    async with client.get(urlsplit(theirs[TWO]).path) as response:
        assert await response.read() == content_by_name(TWO)
    async with client.get(f"/files/demo/{TWO}") as response:
        assert response.status == 404
    async with client.get("/team/simple/") as response:
        assert "demo" in await response.text()
    async with client.get("/team/simple/De.mo", allow_redirects=False) as response:
        assert urljoin("/team/simple/De.mo", response.headers["Location"]) == "/team/simple/de-mo/"


async def test_a_mirror_that_is_not_there_is_no_404_which_would_send_a_client_to_its_next_index(front: Front) -> None:
    client = await front()
    for path in ("/taem/simple/demo/", "/taem/simple/", f"/taem/files/demo/{ONE}"):
        async with client.get(path) as response:
            told = await response.json(content_type=None)
        assert response.status == told["status"] == 400
        assert "'taem'" in told["detail"]
        assert "default, team" in told["detail"]


def test_no_mirror_can_be_called_like_an_address_of_the_proxy() -> None:
    app = create_app(Settings.model_validate({"upstream": {"url": "http://127.0.0.1:9/simple/"}, "store": {"location": "memory"}}))
    firsts = {str(resource.canonical).split("/")[1] for resource in app.router.resources()}
    plain = {first for first in firsts if first.isalnum()}
    assert {"simple", "files", "healthz"} <= plain
    assert plain <= RESERVED_NAMES
    for name in RESERVED_NAMES:
        with pytest.raises(ValueError, match="choose another name"):
            Settings.model_validate({"upstream": {"name": name, "url": "http://127.0.0.1:9/simple/"}})


async def test_each_mirror_has_a_budget_and_a_freshness_of_its_own(mirror: BrokenMirror, second: BrokenMirror, front: Front) -> None:
    for each in (mirror, second):
        each.add(ONE, core_metadata=True)
        each.add(MAC, core_metadata=True)
    client = await front(first={"budget": 0}, team={"fresh": 0.0}, probe={"patience": 5})
    for _ in range(2):
        await files(client)
        await files(client, "/team/simple")
    assert mirror.count(kind="file") == 0
    assert {each.name for each in second.asked if each.kind == "file"} == {ONE, MAC}
    assert mirror.count(kind="page") == 1
    assert second.count(kind="page") == 2


async def test_each_mirror_gets_its_own_credentials_and_no_others(mirror: BrokenMirror, second: BrokenMirror, front: Front) -> None:
    for each, name in ((mirror, ONE), (second, TWO)):
        each.add(name)
        each.credentials = ("reader", f"secret-of-{name}")
    client = await front(
        first={"username": "reader", "password": f"secret-of-{ONE}"}, team={"username": "reader", "password": f"secret-of-{TWO}"}
    )
    for simple in ("/simple", "/team/simple"):
        for address in (await files(client, simple)).values():
            async with client.get(urlsplit(address).path) as response:
                assert response.status == 200
    for each, name in ((mirror, ONE), (second, TWO)):
        right = "Basic " + base64.b64encode(f"reader:secret-of-{name}".encode()).decode()
        assert {asked.authorization for asked in each.asked} == {right}


async def test_each_mirror_has_authorities_of_its_own(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        upstream = []
        for name in ("one", "two", "three"):
            authority = trustme.CA()
            authority.cert_pem.write_to_path(tmp_path / f"{name}.pem")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            running = await stack.enter_async_context(BrokenMirror(ssl_context=context))
            running.add(ONE)
            bundle = "one" if name == "three" else name
            upstream.append({"name": name, "url": running.url, "ca_bundle": tmp_path / f"{bundle}.pem", "retries": 0})
        app = create_app(Settings.model_validate({"store": {"location": "memory"}, "upstream": upstream}))
        client = await stack.enter_async_context(TestClient(TestServer(app)))
        assert list(await files(client, "/one/simple")) == list(await files(client, "/two/simple")) == [ONE]
        async with client.get("/three/simple/demo/") as response:
            assert response.status == 503


async def test_each_mirror_has_an_outbound_proxy_of_its_own(mirror: BrokenMirror, second: BrokenMirror, front: Front) -> None:
    mirror.add(ONE)
    second.add(TWO)
    behind = urlsplit(second.url)
    client = await front(team={"url": f"http://behind.invalid{behind.path}", "proxy": f"http://{behind.netloc}"})
    assert list(await files(client)) == [ONE]
    assert list(await files(client, "/team/simple")) == [TWO]
    assert {each.host for each in second.asked} == {"behind.invalid"}
    assert "behind.invalid" not in {each.host for each in mirror.asked}


async def test_what_is_known_of_a_project_at_one_mirror_says_nothing_of_it_at_another(
    mirror: BrokenMirror, second: BrokenMirror, front: Front, tmp_path: Path
) -> None:
    for each in (mirror, second):
        each.add(ONE)
        each.add(MAC)
    mirror.fault(MAC, artifactory_404())
    store = {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}
    for _ in range(2):
        # The second time it is the store that remembers.
        client = await front(store=store)
        assert list(await files(client)) == [ONE]
        assert list(await files(client, "/team/simple")) == [ONE, MAC]
        await client.close()


async def test_a_name_that_is_given_to_another_mirror_takes_nothing_along(
    mirror: BrokenMirror, second: BrokenMirror, tmp_path: Path
) -> None:
    for each in (mirror, second):
        each.add(ONE)
        each.add(MAC)
    mirror.fault(MAC, artifactory_404())
    for url, listed in ((mirror.url, [ONE]), (second.url, [ONE, MAC])):
        settings = {"upstream": {"url": url}, "store": {"location": f"sqlite:{tmp_path / 'store.sqlite3'}"}}
        async with TestClient(TestServer(create_app(Settings.model_validate(settings)))) as client:
            assert list(await files(client)) == listed


async def _asked(mirror: BrokenMirror, times: int) -> None:
    while mirror.count() < times:  # noqa: ASYNC110 - the stand-in has no event for it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("outage", ["hangs", "is down", "fails"])
async def test_the_outage_of_one_mirror_leaves_the_others_as_they_were(
    mirror: BrokenMirror, second: BrokenMirror, front: Front, outage: str
) -> None:
    for number in range(60):
        mirror.add(f"demo{number}-1.0-py3-none-any.whl")
    client = await front(team={"read_timeout": 3.0}, probe={"deadline": 4.0})
    if outage == "hangs":
        second.fault(ANYTHING, hang(60))
    elif outage == "fails":
        second.fault(ANYTHING, status(503))
    else:
        await second.stop()

    async def ask(number: int) -> int:
        async with client.get(f"/team/simple/demo{number}/") as response:
            return response.status

    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(ask(number)) for number in range(60)]
        if outage == "hangs":
            await asyncio.wait_for(_asked(second, 60), 10)
        took = []
        for number in range(60):
            began = time.perf_counter()
            (name, address), *_ = (await files(client, project=f"demo{number}")).items()
            async with client.get(urlsplit(address).path) as response:
                assert await response.read() == content_by_name(name)
            took.append(time.perf_counter() - began)
    assert {task.result() for task in waiting} <= {502, 503, 504}
    # What waits for the other mirror waits for three seconds.
    assert max(took) < 2.5
    first, team = (index.mirror for index in client.app[INDEXES].values())
    assert (first.breaker_open, first.health.failures) == (False, 0)
    assert team.health.failures > 0


async def test_a_name_that_does_not_resolve_for_ages_holds_up_its_own_mirror_alone(
    mirror: BrokenMirror, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.add(ONE)
    hung, answers, getaddrinfo = set(), threading.Event(), socket.getaddrinfo

    def hanging(host: str, *arguments: Any, **options: Any) -> Any:
        if host.startswith("hung"):
            hung.add(host)
            answers.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "it took too long")
        return getaddrinfo("127.0.0.1" if host == "healthy.invalid" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    healthy = urlsplit(mirror.url)
    client = await front(
        first={"url": f"http://healthy.invalid:{healthy.port}{healthy.path}"},
        team={"url": "http://hung.invalid/simple/", "connect_timeout": 0.5, "retries": 0},
    )

    async def ask(number: int) -> int:
        async with client.get(f"/team/simple/demo{number}/") as response:
            return response.status

    try:
        assert {await ask(number) for number in range(12)} <= {503, 504}
        assert hung == {"hung.invalid"}
        async with asyncio.timeout(10):
            # Whatever hangs there, here is room for names, and for the work that is done in threads.
            assert await asyncio.gather(*(asyncio.to_thread(threading.get_ident) for _ in range(8)))
            assert list(await files(client)) == [ONE]
    finally:
        answers.set()


async def test_real_uv_takes_each_package_from_the_mirror_that_the_project_names(
    mirror: BrokenMirror, second: BrokenMirror, front: Front, uv: Uv, tmp_path: Path
) -> None:
    mirror.add("public-1.0-py3-none-any.whl")
    mirror.add("inner-9.0-py3-none-any.whl")
    second.add("inner-1.0-py3-none-any.whl")
    client = await front()
    extra = f"""
[tool.uv.sources]
inner = {{ index = "team" }}
[[tool.uv.index]]
name = "team"
url = "{client.make_url("/team/simple/")}"
explicit = true
"""
    project = write_project(tmp_path / "project", ["public", "inner"], extra=extra)
    locked = await uv.lock(project, str(client.make_url("/simple/")))
    assert locked.ok, locked
    assert locked.packages == {"public": "1.0", "inner": "1.0"}
    assert urlsplit(locked.files["inner-1.0-py3-none-any.whl"]).path.startswith("/team/files/")
    synced = await uv.sync(project, str(client.make_url("/simple/")), "--locked")
    assert synced.ok, synced


async def test_real_uv_stops_at_a_misspelled_mirror_and_says_so(front: Front, uv: Uv, tmp_path: Path) -> None:
    client = await front()
    locked = await uv.lock(write_project(tmp_path / "project", ["inner"]), str(client.make_url("/taem/simple/")))
    assert not locked.ok
    assert "no mirror of this name" in locked.stderr, locked
