"""Lanes to one origin lend each other the connections that they do not need."""

import asyncio
import ssl

from proxy.core.flows.exchange import Answer, Ask, Method
from proxy.upstream.fastlane import FastLane, Sharing
from tests.edge.scripted import OK, Server, Wire, always, lane_to, on_both_loops, serving
from tests.waiting import until


async def burst(lane: FastLane, server: Server, count: int) -> None:
    """Ask for as many files at once, each of which must be there."""
    replies = await asyncio.gather(*(lane.ask(Ask(Method.HEAD, server.url(f"/{number}"))) for number in range(count)))
    assert all(isinstance(reply, Answer) and reply.status == 200 for reply in replies)


@on_both_loops
async def test_a_connection_that_one_lane_does_not_need_serves_the_other_but_for_its_last() -> None:
    sharing = Sharing()
    async with (
        serving(always(OK)) as server,
        lane_to(server.port, sharing=sharing) as pages,
        lane_to(server.port, sharing=sharing) as files,
    ):
        await burst(pages, server, 4)
        opened = len(server.wires)
        assert opened == 4
        await burst(files, server, 3)
        assert len(server.wires) == opened
        assert (pages.connections, files.connections) == (1, 3)
        await burst(pages, server, 1)
        assert len(server.wires) == opened


@on_both_loops
async def test_headers_of_a_lane_do_not_go_with_requests_of_another_on_the_same_connection() -> None:
    sharing = Sharing()
    async with (
        serving(always(OK)) as server,
        lane_to(server.port, sharing=sharing, headers={"X-Lane": "pages"}) as pages,
        lane_to(server.port, sharing=sharing, headers={}) as files,
    ):
        await burst(pages, server, 4)
        await burst(files, server, 1)
        assert len(server.wires) == 4
        assert [b"X-Lane" in request for request in server.requests].count(True) == 4
        assert len(server.requests) == 5


@on_both_loops
async def test_requests_that_hang_in_one_lane_hold_back_none_of_another() -> None:
    async def script(wire: Wire) -> None:
        while request := await wire.request():
            if b"/hangs" in request:
                await wire.closed_by_client()
                return
            await wire.say(OK)

    sharing = Sharing()
    async with (
        serving(script) as server,
        lane_to(server.port, sharing=sharing) as pages,
        lane_to(server.port, sharing=sharing) as files,
    ):
        await burst(pages, server, 4)
        hanging = [asyncio.create_task(files.ask(Ask(Method.HEAD, server.url("/hangs")))) for _ in range(4)]
        await until(lambda: sum(b"/hangs" in request for request in server.requests) == 4)
        await burst(pages, server, 4)
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


@on_both_loops
async def test_lanes_that_share_nothing_lend_nothing() -> None:
    async with serving(always(OK)) as server, lane_to(server.port) as one, lane_to(server.port) as other:
        await burst(one, server, 4)
        await burst(other, server, 1)
        assert len(server.wires) == 5


async def test_a_burst_over_tls_dials_no_more_at_once_than_a_mirror_far_away_makes_worth_it() -> None:
    """A connection that is free serves sooner than a handshake that queues behind fifty others."""

    async def script(wire: Wire) -> None:
        await wire.closed_by_client()

    async with serving(script) as server, lane_to(server.port, connections=128, tls=ssl.create_default_context()) as lane:
        waiting = [asyncio.create_task(lane.ask(Ask(Method.HEAD, server.url(f"/{number}", "https")))) for number in range(128)]
        await until(lambda: len(server.wires) == 48)
        assert len(lane._openers) == 48
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
