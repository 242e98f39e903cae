"""Refusals with 403 that are not about the file: by who asks, and by what asks."""

from aiohttp import web

from tests.faults import ANYTHING, Fault, Target, status
from tests.listing import content_by_name
from tests.matrix.names import ALL, LINUX, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror

BLOCKED = b"<!DOCTYPE html><html><head><title>Request blocked by\n policy 17 &amp; co</title></head><body>Go away</body></html>"


def firewall(user_agent: str) -> Fault:
    """Let only this User-Agent in."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if target.request.headers["User-Agent"] == user_agent:
            return None
        return web.Response(status=403, body=BLOCKED, content_type="text/html")

    return fault


@row(44, "a firewall refuses with 403 by the User-Agent", "repeats its words; `user_agent` of the upstream sets another for all requests")
async def test_44_a_firewall_lets_only_certain_clients_in(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault(ANYTHING, firewall("pip/25.0"))
    told = await (await site()).problem("/simple/demo/")
    assert (told["status"], told["upstream_status"]) == (403, 403)
    assert "answered 403: Request blocked by policy 17 & co" in told["detail"]
    assert "user_agent" in told["detail"]
    stocked.forget()
    proxied = await site(upstream={"user_agent": "pip/25.0"})
    assert await proxied.names() == ALL
    assert (await proxied.get(f"/files/demo/{LINUX}"))[2] == content_by_name(LINUX)
    assert (await proxied.lock()).packages == {"demo": "2.0"}
    assert {each.headers["User-Agent"] for each in stocked.asked if each.headers.get("User-Agent") is not None} == {"pip/25.0"}


@row(44, "the anonymous are refused with 403", "says that no credentials were sent, and how to give them")
async def test_44_the_anonymous_are_refused_with_403(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.credentials = ("reader", "s3cret")
    stocked.refuses_with = 403
    proxied = await site()
    assert "No credentials were sent" in (await proxied.problem("/simple/demo/"))["detail"]
    wrong = {"Authorization": "Basic cmVhZGVyOndyb25n"}
    assert "Credentials were sent" in (await proxied.problem("/simple/demo/", **wrong))["detail"]
    configured = await site(upstream={"username": "reader", "password": "wrong"})
    assert "Credentials were sent" in (await configured.problem("/simple/demo/"))["detail"]


@row(44, "a file is refused with 403 and a reason", "repeats the reason")
async def test_44_a_file_is_refused_with_words(stocked: BrokenMirror, site: MakeSite) -> None:
    proxied = await site()
    await proxied.names()
    stocked.fault(LINUX, status(403, {"Content-Type": "application/json"}, b'{"errors":[{"message":"licence GPL is not allowed here"}]}'))
    assert "answered 403: licence GPL is not allowed here" in (await proxied.problem(f"/files/demo/{LINUX}"))["detail"]
