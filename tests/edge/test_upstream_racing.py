"""A mirror of several addresses: one that swallows packets costs a quarter of a second, once (RFC 8305).

The addresses are of IPv4 alone, so that the tests say the same on machines without IPv6.
"""

import asyncio
import socket
import ssl

import pytest
import trustme

from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply, Trouble
from proxy.core.identity import SHARED
from proxy.upstream import FetchedPage
from proxy.upstream.address_order import AddressOrder
from proxy.upstream.fastlane import FastLane, Unusual
from tests.edge.dialling import answer, file_of, mirror_at, page
from tests.edge.scripted import OK, Wire, always, lane_to, on_both_loops, serving
from tests.edge.silent import SILENT, SILENT_TOO, Dials, Names, free_port, swallowing
from tests.waiting import BEYOND_ANY_TEST, eventually

GOOD = "127.0.0.1"


async def asked(lane: FastLane, port: int, *, spread: bool = False, scheme: str = "http") -> Reply | Unusual:
    return await lane.ask(Ask(Method.HEAD, f"{scheme}://127.0.0.1:{port}/a.whl", spread=spread))


async def silent_then_good() -> list[tuple[int, str]]:
    return [(socket.AF_INET, SILENT), (socket.AF_INET, GOOD)]


async def two_good() -> list[tuple[int, str]]:
    return [(socket.AF_INET, GOOD), (socket.AF_INET, SILENT)]


async def silence(wire: Wire) -> None:
    await wire.closed_by_client()


class TestLeanConnections:
    @staticmethod
    @on_both_loops
    async def test_the_next_address_is_dialled_long_before_the_silent_one_is_given_up() -> None:
        async with (
            serving(always(OK), port=free_port()) as server,
            lane_to(server.port, resolver=silent_then_good, connect_timeout=BEYOND_ANY_TEST) as lane,
        ):
            with swallowing(server.port):
                assert isinstance(await asked(lane, server.port), Answer)

    @staticmethod
    @on_both_loops
    async def test_those_that_follow_do_not_dial_the_silent_one_though_the_name_is_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
        order = AddressOrder()
        async with serving(always(OK), port=free_port()) as server:
            with swallowing(server.port):
                async with lane_to(server.port, resolver=silent_then_good, order=order) as lane:
                    assert isinstance(await asked(lane, server.port), Answer)
                    dials = Dials(monkeypatch)
                    assert isinstance(await asked(lane, server.port, spread=True), Answer)
                async with lane_to(server.port, resolver=silent_then_good, order=order) as another:
                    assert isinstance(await asked(another, server.port), Answer)
        assert set(dials.addresses) == {GOOD}

    @staticmethod
    @on_both_loops
    async def test_no_second_address_is_dialled_while_the_first_answers(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("proxy.upstream.fastlane.dialling.RACE_DELAY", BEYOND_ANY_TEST)
        dials = Dials(monkeypatch)
        async with serving(always(OK), port=free_port()) as server, lane_to(server.port, resolver=two_good, connections=8) as lane:
            await asyncio.gather(*(asked(lane, server.port) for _ in range(20)))
        assert set(dials.addresses) == {GOOD}
        assert len(dials.addresses) == len(server.wires) <= 8

    @staticmethod
    @on_both_loops
    async def test_an_address_that_refuses_leads_to_the_next_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("proxy.upstream.fastlane.dialling.RACE_DELAY", BEYOND_ANY_TEST)
        async with serving(always(OK), port=free_port()) as server, lane_to(server.port, resolver=silent_then_good) as lane:
            assert isinstance(await asked(lane, server.port), Answer)

    @staticmethod
    @on_both_loops
    async def test_if_the_one_that_worked_dies_the_other_takes_over() -> None:
        order = AddressOrder()
        async with serving(always(OK), port=free_port()) as server:
            order.worked(SILENT, server.port)
            with swallowing(server.port):
                async with lane_to(server.port, resolver=two_good, order=order, connect_timeout=BEYOND_ANY_TEST) as lane:
                    assert isinstance(await asked(lane, server.port), Answer)
                    assert lane._dialler.addresses[0][1] == GOOD

    @staticmethod
    @on_both_loops
    async def test_all_addresses_together_have_the_connect_timeout() -> None:
        async def silent() -> list[tuple[int, str]]:
            return [(socket.AF_INET, SILENT), (socket.AF_INET, SILENT_TOO)]

        port = free_port()
        with swallowing(port), swallowing(port, SILENT_TOO):
            async with lane_to(port, resolver=silent, connect_timeout=0.5, read_timeout=BEYOND_ANY_TEST) as lane:
                reply = await asked(lane, port)
        assert isinstance(reply, NoAnswer)
        assert reply.trouble is Trouble.TIMEOUT

    @staticmethod
    @on_both_loops
    async def test_a_handshake_that_hangs_leaves_time_for_the_other_address() -> None:
        authority = trustme.CA()
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(GOOD).configure_cert(theirs)
        ours = ssl.create_default_context()
        authority.configure_trust(ours)
        async with (
            serving(always(OK), tls=theirs, port=free_port()) as server,
            serving(silence, address=SILENT, port=server.port),
            lane_to(server.port, resolver=silent_then_good, tls=ours, server_hostname=GOOD, connect_timeout=8.0, read_timeout=20.0) as lane,
        ):
            assert isinstance(await asked(lane, server.port, scheme="https"), Answer)
            assert [address for _, address in lane._dialler.addresses] == [GOOD, SILENT]

    @staticmethod
    @on_both_loops
    async def test_an_address_that_takes_connections_and_answers_nothing_goes_last() -> None:
        async with (
            serving(always(OK), port=free_port()) as server,
            serving(silence, address=SILENT, port=server.port),
            lane_to(server.port, resolver=silent_then_good, read_timeout=4.0) as lane,
        ):
            first = await asked(lane, server.port)
            assert isinstance(first, NoAnswer)
            assert first.trouble is Trouble.TIMEOUT
            assert isinstance(await asked(lane, server.port), Answer)


class TestTheMirror:
    """Both clients of one mirror share what they learn."""

    async def test_pages_and_files_come_and_no_connection_dials_the_silent_address_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, mirror_invalid=[SILENT, GOOD])
        dials = Dials(monkeypatch)
        async with serving(always(page()), port=free_port()) as server:
            with swallowing(server.port):
                dials.forget()
                url = f"http://mirror.invalid:{server.port}"
                async with mirror_at(f"{url}/simple/", connect_timeout=BEYOND_ANY_TEST) as mirror:
                    assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
                    assert (await file_of(mirror, f"{url}/a.whl"))[0] == 200
                    assert isinstance(await mirror.ask(Ask(Method.HEAD, f"{url}/a.whl"), SHARED), Answer)
        assert dials.addresses.count(SILENT) == 1
        assert dials.addresses.count(GOOD) >= 3

    async def test_a_host_of_files_elsewhere_is_dialled_where_it_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the ordinary client goes there."""
        names = Names(monkeypatch, mirror_invalid=[GOOD], files_invalid=[SILENT, GOOD])
        dials = Dials(monkeypatch)
        async with serving(always(answer(200, b"x", connection="close")), port=free_port()) as server:
            with swallowing(server.port):
                dials.forget()
                files = f"http://files.invalid:{server.port}/a.whl"
                async with mirror_at(
                    f"http://mirror.invalid:{server.port}/simple/",
                    connect_timeout=BEYOND_ANY_TEST,
                    allow_hosts=(f"files.invalid:{server.port}",),
                ) as mirror:
                    for _ in range(4):
                        assert await file_of(mirror, files) == (200, b"x")
        assert dials.addresses == [SILENT, GOOD, GOOD, GOOD, GOOD]
        assert names.lookups.count("files.invalid") == 1

    async def test_an_outbound_proxy_of_several_addresses_is_dialled_where_it_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, outbound_invalid=[SILENT, GOOD])
        dials = Dials(monkeypatch)
        async with serving(always(page(connection="close")), port=free_port()) as server:
            with swallowing(server.port):
                dials.forget()
                async with mirror_at(
                    "http://mirror.invalid/simple/", proxy=f"http://outbound.invalid:{server.port}", connect_timeout=BEYOND_ANY_TEST
                ) as mirror:
                    for _ in range(3):
                        assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert dials.addresses == [SILENT, GOOD, GOOD, GOOD]

    async def test_what_worked_is_known_after_a_reload(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, mirror_invalid=[SILENT, GOOD])
        async with serving(always(page()), port=free_port()) as server:
            with swallowing(server.port):
                url = f"http://mirror.invalid:{server.port}/simple/"
                async with mirror_at(url) as mirror, mirror_at(url) as reloaded:
                    assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
                    reloaded.take_over(mirror)
                    dials = Dials(monkeypatch)
                    assert isinstance(await reloaded.fetch_page("demo", SHARED), FetchedPage)
        assert dials.addresses == [GOOD]

    async def test_what_worked_comes_first_after_a_pause_of_the_breaker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Names(monkeypatch, mirror_invalid=[SILENT, GOOD])
        down = False

        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await wire.say(answer(503, connection="close") if down else page())

        async with serving(script, port=free_port()) as server:
            with swallowing(server.port):
                async with mirror_at(f"http://mirror.invalid:{server.port}/simple/") as mirror:
                    assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
                    down = True
                    dials = Dials(monkeypatch)
                    ask = Ask(Method.GET, f"http://mirror.invalid:{server.port}/simple/demo/", read=1)
                    while not mirror.breaker_open:
                        await mirror.ask(ask, SHARED)
                    down = False

                    async def answers() -> bool:
                        return isinstance(await mirror.ask(ask, SHARED), Answer)

                    await eventually(answers)
                    assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
        assert set(dials.addresses) == {GOOD}

    async def test_a_handshake_that_hangs_is_not_begun_first_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The ordinary client may have no time left for the third address, but the next request has."""
        Names(monkeypatch, mirror_invalid=[GOOD], files_invalid=[SILENT, SILENT_TOO, GOOD])
        authority = trustme.CA()
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("files.invalid").configure_cert(theirs)
        async with (
            serving(always(answer(200, b"x")), tls=theirs, port=free_port()) as server,
            serving(silence, address=SILENT, port=server.port),
            serving(silence, address=SILENT_TOO, port=server.port),
            mirror_at(f"https://mirror.invalid:{server.port}/simple/", connect_timeout=2.0, allow_hosts=("files.invalid",)) as mirror,
        ):
            authority.configure_trust(mirror._client.tls)
            ask = Ask(Method.GET, f"https://files.invalid:{server.port}/a.whl", read=1)
            dials = Dials(monkeypatch)
            await mirror.ask(ask, SHARED)
            assert dials.addresses[0] == SILENT
            dials.forget()
            await mirror.ask(ask, SHARED)
            assert dials.addresses[:1] != [SILENT]


class TestTheOrder:
    def test_the_one_that_worked_last_is_first_and_the_one_that_failed_last_is_last(self) -> None:
        order = AddressOrder()
        addresses = ["a", "b", "c", "d", "e"]
        for address in ("d", "b"):
            order.worked(address, 443)
        for address in ("a", "e"):
            order.failed(address, 443)
        assert sorted(addresses, key=lambda each: order.place(each, 443)) == ["b", "d", "c", "a", "e"]
        assert sorted(addresses, key=lambda each: order.place(each, 80)) == addresses

    def test_it_remembers_no_more_than_it_must(self) -> None:
        order = AddressOrder()
        for number in range(5000):
            order.worked(str(number), 443)
        assert len(order.ranks) <= 1024
        assert order.place("4999", 443) < order.place("4998", 443) < order.place("0", 443) == 0
