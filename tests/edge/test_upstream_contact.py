"""Before a burst with credentials one request goes alone: mirrors that have not checked them lately refuse some of the others."""

import asyncio
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from proxy.core.errors import UpstreamStatus
from proxy.upstream.contact import FirstContact
from proxy.upstream.credentials import principal_of
from tests.clock import Clock
from tests.conftest import MakeClient
from tests.faults import Target
from tests.mirror import ANYTHING, BrokenMirror, hang

NAMES = [f"p{number}-1.0-py3-none-any.whl" for number in range(12)]


class ColdCheck:
    """Refuses whatever comes while the first request with credentials is being looked at, as some mirrors do at random."""

    def __init__(self) -> None:
        self.known = asyncio.Event()
        self.looking = False
        self.refused = 0

    async def __call__(self, target: Target) -> web.StreamResponse | None:
        if self.known.is_set() or "Authorization" not in target.request.headers:
            return None
        if self.looking:
            self.refused += 1
            return web.Response(status=401)
        self.looking = True
        await asyncio.sleep(0.1)
        self.known.set()
        return None


async def asked_at_once(client: Any, paths: list[str], **headers: str) -> list[int]:
    """The statuses of requests that all come at once."""

    async def asked(path: str) -> int:
        async with client.get(path, headers=headers) as response:
            await response.read()
            return int(response.status)

    return await asyncio.gather(*(asked(path) for path in paths))


@pytest.mark.parametrize("own", [True, False], ids=["the client's", "configured"])
async def test_a_burst_of_pages_and_files_is_preceded_by_one_request(mirror: BrokenMirror, app_client: MakeClient, own: bool) -> None:
    for name in NAMES:
        mirror.add(name)
    mirror.credentials = ("alice", "pw")
    check = ColdCheck()
    mirror.fault(ANYTHING, check)
    client = await app_client(upstream={} if own else {"username": "alice", "password": "pw"})
    headers = {"Authorization": encode_basic_auth("alice", "pw")} if own else {}
    pages = [f"/simple/p{number}/" for number in range(6)]
    files = [f"/files/p{number}/{NAMES[number]}" for number in range(6, 12)]
    assert set(await asked_at_once(client, pages + files, **headers)) == {200}
    assert check.refused == 0


async def test_nobody_waits_for_ever_for_a_first_request_that_hangs(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.upstream.contact._LONGEST", 0.1)
    for name in NAMES:
        mirror.add(name)
    mirror.fault("page:p0", hang(30))
    client = await app_client(upstream={"username": "a", "password": "b"}, probe={"deadline": 1.0})
    statuses = await asked_at_once(client, ["/simple/p0/", "/simple/p1/", "/simple/p2/"])
    assert statuses == [504, 200, 200]


async def test_credentials_that_rested_are_tried_alone_again_and_those_refused_never_count_as_known() -> None:
    clock = Clock()
    contact = FirstContact(clock)
    assert contact.due("alice")
    async with contact.made("alice"):
        assert contact.due("alice")
    assert not contact.due("alice")
    assert not contact.due(None)
    clock.passes(301)
    assert contact.due("alice")
    for status, due in ((401, True), (404, False)):
        with pytest.raises(UpstreamStatus):
            async with contact.made("alice"):
                raise UpstreamStatus("https://mirror.example.com/", status)
        assert contact.due("alice") is due


def test_what_is_kept_is_kept_by_principal_and_never_by_secret() -> None:
    alice, again, bob = (encode_basic_auth(user, pw) for user, pw in (("alice", "one"), ("alice", "two"), ("bob", "one")))
    assert principal_of(alice) == principal_of(again) != principal_of(bob)
    assert principal_of("Bearer first") == principal_of("Bearer second")
    assert len({principal_of(each) for each in (None, alice, bob, "Bearer first")}) == 4
    assert "first" not in principal_of("Bearer first")
