"""Asking a proxy where the mirror has its files: what comes of each answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.locking.addresses import Door, Proxied, file_at
from proxy.locking.errors import LockFailed
from proxy.locking.whereabouts import at_mirror, mirror_behind

MIRROR = "https://mirror.example.com/simple/"
WHEEL = "demo-1.0+cu1-py3-none-any.whl"


@asynccontextmanager
async def a_proxy(answer: Callable[[web.Request], web.Response], credentials: tuple[str, str] | None = None) -> AsyncIterator[Door]:
    """Something at loopback that answers so, whatever it is asked."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    async with TestServer(app) as server:
        yield Door(MIRROR, str(server.make_url("/team/simple/")), credentials)


def tells(**files: str) -> Callable[[web.Request], web.Response]:
    return lambda _: web.json_response({"upstream": MIRROR, "files": files})


async def ask(door: Door) -> str:
    url = file_at(door.proxy, "demo", WHEEL)
    return (await at_mirror([Proxied(url, door, "demo", WHEEL)], by_environment=False))[url]


async def test_each_project_is_asked_for_once_and_with_the_credentials() -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers.get("Authorization")))
        return tells(**{WHEEL: "https://a:b@mirror.example.com/d/demo-1.0%2Bcu1-py3-none-any.whl?token=x#y", "b.whl": "https://m/b.whl"})(
            request
        )

    async with a_proxy(answer, ("me", "pä:w")) as door:
        files = [Proxied(f"{each}", door, "demo", each) for each in (WHEEL, "b.whl")]
        found = await at_mirror(files, by_environment=False)
        assert await mirror_behind(door, by_environment=False) == MIRROR
    assert found == {WHEEL: "https://mirror.example.com/d/demo-1.0%2Bcu1-py3-none-any.whl", "b.whl": "https://m/b.whl"}
    assert asked == [("/team/files/demo/", "Basic bWU6cMOkOnc="), ("/team/files/", "Basic bWU6cMOkOnc=")]


async def test_without_files_nobody_is_asked() -> None:
    assert await at_mirror([], by_environment=False) == {}


def problem(status: int) -> Callable[[web.Request], web.Response]:
    body = {"title": "The mirror wants credentials", "detail": "Give them."}
    return lambda _: web.json_response(body, status=status, content_type="application/problem+json")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (tells(), f"the mirror's page of demo does not list {WHEEL} any more; lock anew: mirrormend lock -- --refresh"),
        (
            tells(**{WHEEL: f"https://m/download?file={WHEEL}"}),
            "does not end with its name, which uv reads there",
        ),
        (problem(401), "answered 401, Give them; give the mirror's credentials"),
        (problem(404), "answered 404, Give them; see that it is a mirrormend of this version"),
        (lambda _: web.Response(status=502, text="<html>"), "answered 502; try again"),
        (lambda _: web.Response(text="<html>"), "is no mirrormend; give the address of the proxy's simple API with --proxy"),
        (tells(**{WHEEL: "file:///etc/passwd"}), "is no mirrormend"),
    ],
    ids=["not listed", "no name", "401", "404", "502", "a page", "no address"],
)
async def test_what_is_no_use_is_told_in_one_line_with_a_remedy(answer: Any, said: str) -> None:
    async with a_proxy(answer) as door:
        with pytest.raises(LockFailed) as raised:
            await ask(door)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_the_failure_of_one_project_among_many_is_told_as_it_is() -> None:
    def answer(request: web.Request) -> web.Response:
        return (problem(401) if request.path.endswith("/p7/") else tells(x="https://m/x"))(request)

    async with a_proxy(answer) as door:
        with pytest.raises(LockFailed, match="p7/ answered 401"):
            await at_mirror([Proxied(f"{number}", door, f"p{number}", "x") for number in range(20)], by_environment=False)
