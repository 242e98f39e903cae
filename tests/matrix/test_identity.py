"""Faults that look like absence and are none: credentials, quotas, rights."""

import base64
from itertools import count

import pytest
from aiohttp import web

from tests.faults import Target, artifactory_404, quota, status
from tests.listing import content_by_name
from tests.matrix.names import ALL, LINUX, MAC, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()


@pytest.mark.parametrize("refusal", [401, 403])
@row(1, "the mirror wants credentials", "passes 401 with its challenge, and 403, to the client; asks for everything with the client's own")
async def test_01_credentials_are_wanted(stocked: BrokenMirror, site: MakeSite, refusal: int) -> None:
    stocked.credentials, stocked.refuses_with = ("reader", "secret"), refusal
    proxied = await site()
    code, headers, _ = await proxied.get("/simple/demo/")
    assert code == refusal
    assert ("www-authenticate" in headers) is (refusal == 401)
    stocked.forget()
    assert await proxied.names(Authorization=basic("reader")) == ALL
    assert {each.headers.get("Authorization") for each in stocked.asked} == {basic("reader")}


@pytest.mark.parametrize("code", [404, 403, 500, 401])
@row(1, "an expired token makes every file 404, 403, 500 or 401", "drops nothing: a denial counts only beside a file that came")
async def test_01_an_expired_token_in_disguise(stocked: BrokenMirror, site: MakeSite, code: int) -> None:
    stocked.fault("*", status(code))
    assert await (await site()).names(Authorization=basic("late")) == ALL


@row(1, "a cold burst gets random 401s", "takes them for no verdict")
async def test_01_random_401s_in_a_burst(stocked: BrokenMirror, site: MakeSite) -> None:
    numbers = count()

    async def now_and_then(_: Target) -> web.StreamResponse | None:
        return web.Response(status=401) if next(numbers) % 2 else None

    for version in range(3, 30):
        stocked.add(f"demo-{version}.0-py3-none-any.whl")
    stocked.fault("*", now_and_then)
    proxied = await site()
    assert len(await proxied.names(Authorization=basic("reader"))) == len(ALL) + 27


@pytest.mark.parametrize("code", [403, 429])
@row(20, "a quota: 403 or 429 from some request on", "slows down, honours Retry-After, and takes it for no verdict")
async def test_20_a_quota_is_used_up(stocked: BrokenMirror, site: MakeSite, code: int) -> None:
    for number in range(40):
        stocked.add(f"demo-3.0-cp3{number}-none-any.whl")
    stocked.fault("*", quota(after_n=8, status=code))
    proxied = await site(probe={"patience": 0.5, "deadline": 2})
    assert len(await proxied.names()) == len(ALL) + 40


@row(20, "429 with Retry-After to a file request", "says 503 with the mirror's Retry-After, in either of its forms")
async def test_20_retry_after_is_passed_on(stocked: BrokenMirror, site: MakeSite) -> None:
    proxied = await site(upstream={"retries": 0})
    await proxied.names()
    stocked.fault(LINUX, status(429, {"Retry-After": "7"}))
    code, headers, _ = await proxied.get(f"/files/demo/{LINUX}")
    assert (code, headers["retry-after"]) == (503, "7")
    stocked.heal()
    stocked.fault(LINUX, status(429, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}))
    assert int((await proxied.get(f"/files/demo/{LINUX}"))[1]["retry-after"]) > 10**8


@row(21, "a file that one principal may see and another may not", "keeps pages and denials apart by credentials")
async def test_21_what_one_may_see_another_may_not(stocked: BrokenMirror, site: MakeSite) -> None:
    async def for_alice_only(target: Target) -> web.StreamResponse | None:
        return None if target.request.headers.get("Authorization") == basic("alice") else await artifactory_404()(target)

    stocked.fault(MAC, for_alice_only)
    proxied = await site()
    alice, bob = basic("alice"), basic("bob")
    for _ in range(2):
        assert await proxied.names(Authorization=bob) == [each for each in ALL if each != MAC]
        assert await proxied.names(Authorization=alice) == ALL
    assert (await proxied.get(f"/files/demo/{MAC}", Authorization=alice))[2] == content_by_name(MAC)
    assert (await proxied.get(f"/files/demo/{MAC}", Authorization=bob))[0] == 502
    code, headers, _ = await proxied.get("/simple/demo/", Authorization=alice)
    assert (code, headers["cache-control"]) == (200, "private, no-cache")
