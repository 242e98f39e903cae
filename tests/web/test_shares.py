"""Slow readers of one client hold up nobody else, and what the proxy cannot do at once is not taken for the mirror's failure."""

import asyncio
import socket
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import aiohttp
import pytest

from proxy.server.access import admission
from proxy.server.access.turns import Shares
from proxy.server.context import INDEXES
from proxy.upstream import client as client_module
from tests.conftest import MakeClient
from tests.mirror import BrokenMirror

LARGE, SMALL = "large-1.0-py3-none-any.whl", "small-1.0-py3-none-any.whl"
PLACES = 12


@pytest.fixture
async def proxied(mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The proxy with a few places for downloads, before a mirror of one file that fills every buffer on its way."""
    monkeypatch.setattr(client_module, "DOWNLOADS", PLACES)
    monkeypatch.setattr(admission, "DOWNLOADS", PLACES)
    monkeypatch.setattr(admission, "Shares", partial(Shares, patience=0.2))
    mirror.add(LARGE, bytes(30_000_000))
    mirror.add(SMALL)
    return await app_client()


def from_address(address: str) -> aiohttp.ClientSession:
    """A client with this address, which reads no more than it is asked to."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), family=socket.AF_INET, limit=0)
    return aiohttp.ClientSession(connector=connector, read_bufsize=1024)


async def test_slow_readers_of_one_client_leave_places_for_others(proxied: Any, mirror: BrokenMirror) -> None:
    large, small = (str(proxied.make_url(f"/files/{name.split('-')[0]}/{name}")) for name in (LARGE, SMALL))
    async with AsyncExitStack() as stack, from_address("127.0.0.2") as slow, from_address("127.0.0.3") as other:
        answers = await asyncio.gather(*(slow.get(large) for _ in range(PLACES + 8)))
        for answer in answers:
            stack.callback(answer.close)
        codes = [answer.status for answer in answers]
        assert codes.count(200) == 8
        assert codes.count(429) == PLACES
        refused = await next(answer for answer in answers if answer.status == 429).json(content_type=None)
        assert "proxy" in refused["title"]
        async with other.get(small) as answer:
            assert answer.status == 200
        async with slow.get(f"{small}.metadata") as answer:
            assert answer.status == 200
        async with slow.get(proxied.make_url("/simple/small/")) as answer:
            assert answer.status == 200
        health = proxied.app[INDEXES]["default"].mirror.health
        assert (health.state, health.failures) == ("answers", 0)
    async with from_address("127.0.0.2") as again, again.get(small) as answer:
        assert answer.status == 200


async def test_that_the_proxy_has_no_place_left_is_told_as_its_own_limit(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "DOWNLOADS", 1)
    mirror.add(LARGE, bytes(30_000_000))
    mirror.add(SMALL)
    client = await app_client(upstream={"connect_timeout": 0.1, "read_timeout": 0.2})
    async with from_address("127.0.0.2") as slow, slow.get(client.make_url(f"/files/large/{LARGE}")):
        for _ in range(10):
            async with client.get(f"/files/small/{SMALL}") as answer:
                told = await answer.json(content_type=None)
                assert answer.status == 503
            assert told["title"] == "The proxy has too many requests under way"
            assert "the mirror has nothing to do with it" in told["detail"]
        health = client.app[INDEXES]["default"].mirror.health
        assert (health.state, health.failures) == ("answers", 0)
