"""Faults that hit healthy files by chance: limits, nodes, ways of asking, types and delays. No file is dropped for them."""

import pytest

from tests.clock import Clock
from tests.faults import artifactory_404, delivers_only_plain_get, limited, some_nodes, status, typed, wrong_type
from tests.listing import content_by_name
from tests.matrix.names import ALL, LINUX, MAC, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror
from tests.wheels import metadata_of

MANY = [f"many-{major}.0-cp3{minor}-cp3{minor}-manylinux_2_28_x86_64.whl" for major in range(1, 8) for minor in range(8, 16)]


def stock(mirror: BrokenMirror) -> None:
    for name in MANY:
        mirror.add(name)


@row(26, "a limit on simultaneous requests told as 403, 404 or a page", "repeats each denial among known-good files, at ever fewer at once")
@pytest.mark.parametrize("answer", [status(403), artifactory_404(), wrong_type()], ids=["403", "404", "page"])
async def test_26_a_limit_on_simultaneous_requests(mirror: BrokenMirror, site: MakeSite, answer: object) -> None:
    stock(mirror)
    mirror.fault("*", limited(18, answer))  # type: ignore[arg-type]
    proxied = await site(upstream={"fresh": 0})
    assert await proxied.names("many") == MANY
    assert (await proxied.lock("many")).packages == {"many": "7.0"}
    assert await proxied.names("many") == MANY


@row(26, "one of several nodes lacks the files", "repeats a denial on other connections until chance is ruled out")
async def test_26_one_of_two_nodes_lacks_the_files(mirror: BrokenMirror, site: MakeSite) -> None:
    stock(mirror)
    mirror.fault("*", some_nodes(2, 1, artifactory_404()))
    proxied = await site(upstream={"fresh": 0}, verdict={"no": 0, "no_young": 0})
    for _ in range(4):
        assert await proxied.names("many") == MANY


@row(27, "HEAD and Range are denied, an ordinary GET delivers", "asks by an ordinary GET too, and hangs up after the first bytes")
async def test_27_only_an_ordinary_get_delivers(stocked: BrokenMirror, site: MakeSite) -> None:
    stocked.fault("*", delivers_only_plain_get(artifactory_404()))
    proxied = await site(upstream={"fresh": 0}, verdict={"no": 0, "no_young": 0})
    for _ in range(3):
        assert await proxied.names() == ALL
    assert (await proxied.get(f"/files/demo/{LINUX}"))[2] == content_by_name(LINUX)


@row(28, "wheels typed `text/html`, on a page without sizes", "tells a file from a page by its first bytes")
async def test_28_wheels_that_are_called_pages(mirror: BrokenMirror, site: MakeSite) -> None:
    for name in ALL:
        mirror.add(name, size=None)
    mirror.fault("*", typed("text/html"))
    proxied = await site(upstream={"fresh": 0})
    assert await proxied.names() == ALL
    code, _, body = await proxied.get(f"/files/demo/{LINUX}")
    assert (code, body) == (200, content_by_name(LINUX))
    assert (await proxied.get(f"/files/demo/{LINUX}.metadata"))[2] == metadata_of(content_by_name(LINUX))


@row(29, "a file lags behind its page for seconds", "asks for a file that was first listed within the hour again after a minute")
async def test_29_a_file_that_lags_behind_its_page(stocked: BrokenMirror, app_client: MakeSite) -> None:
    clock = Clock()
    client = await app_client(clock)
    rule = stocked.fault(MAC, artifactory_404())

    async def listed() -> bool:
        async with client.get("/simple/demo/") as response:
            return MAC in await response.text()

    assert not await listed()
    stocked.heal(rule)
    clock.passes(121)
    assert await listed()
