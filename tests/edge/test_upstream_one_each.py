"""Servers that take a new connection for each request, as the simplest do, and lose connections where more than a few wait."""

import asyncio

import pytest

from proxy.core.errors import UpstreamStatus
from proxy.core.flows.evidence import Evidence
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.upstream import Mirror
from proxy.upstream.pace import FEW, START
from tests.edge.dialling import answer, mirror_at, page
from tests.edge.scripted import Server, Wire, always, serving

FILES = 100


class OneEach:
    """Answers one request on each connection, by HTTP/1.0 unless told otherwise, and counts how many connections it had at once."""

    def __init__(self, version: bytes = b"HTTP/1.0", connection: str = "close") -> None:
        self.version = version
        self.connection = connection
        self.most = 0
        self._now = 0

    async def __call__(self, wire: Wire) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        head = await wire.request()
        await asyncio.sleep(0.01)
        said = page(Connection=self.connection) if b"/simple/" in head else answer(200, b"x" * 9, Connection=self.connection)
        await wire.say(said.replace(b"HTTP/1.1", self.version).removesuffix(b"x" * 9 if head.startswith(b"HEAD") else b""))
        self._now -= 1


async def probed(mirror: Mirror, server: Server) -> list[int | None]:
    """Fetches a page, and then asks for many files; gives the statuses that came."""
    await mirror.fetch_page("demo", SHARED)
    statuses: list[int | None] = []

    def learned(_: int, evidence: Evidence) -> None:
        statuses.append(evidence.status)

    await mirror.converse_all(((number, probe(server.url(f"/files/{number}"))) for number in range(FILES)), SHARED, learned=learned)
    return statuses


async def test_a_mirror_that_speaks_http_1_0_is_asked_few_things_at_once_and_each_of_them_once() -> None:
    simple = OneEach()
    async with serving(simple) as server, mirror_at(server.url("/simple/")) as mirror:
        assert await probed(mirror, server) == [200] * FILES
        assert simple.most <= FEW
        # The page was asked for by a lean connection first, which does not speak HTTP/1.0.
        assert len(server.wires) == 2 + FILES


@pytest.mark.parametrize(
    "kept", [OneEach(b"HTTP/1.1"), OneEach(connection="keep-alive")], ids=["HTTP/1.1", "HTTP/1.0 that keeps connections"]
)
async def test_other_mirrors_are_asked_as_much_as_ever(kept: OneEach) -> None:
    async with serving(kept) as server, mirror_at(server.url("/simple/")) as mirror:
        await probed(mirror, server)
        assert mirror._pace.limit >= START


async def test_a_mirror_that_was_replaced_by_a_better_one_is_asked_more_again() -> None:
    simple = OneEach()
    async with serving(simple) as server, mirror_at(server.url("/simple/")) as mirror:
        await probed(mirror, server)
        simple.version = b"HTTP/1.1"
        await probed(mirror, server)
        assert simple.most > FEW


async def test_an_error_by_http_1_0_may_come_from_something_in_between_and_says_nothing_of_the_mirror() -> None:
    async with serving(always(answer(503).replace(b"HTTP/1.1", b"HTTP/1.0"))) as server, mirror_at(server.url("/simple/")) as mirror:
        with pytest.raises(UpstreamStatus):
            await mirror.fetch_page("demo", SHARED)
        assert mirror._pace.limit == START
