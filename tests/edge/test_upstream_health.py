"""What a mirror's answers teach: whether it is there, and which product it is."""

import asyncio
import time

import pytest

from proxy.config import MirrorKind
from proxy.core.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Trouble
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED, Identity
from proxy.upstream import Mirror
from proxy.upstream.breaker import FAILURES
from proxy.upstream.health import Observer
from proxy.upstream.kinds import kind_by_address, kind_by_headers
from tests.edge.dialling import answer, file_of, mirror_at, page, path_of, saying
from tests.edge.scripted import Wire, always, serving


async def fail(mirror: Mirror, times: int = FAILURES) -> None:
    for number in range(times):
        with pytest.raises(UpstreamError):
            await mirror.fetch_page(f"p{number}", SHARED)


async def silent(wire: Wire) -> None:
    await wire.request()
    await wire.closed_by_client()


class TestBreaker:
    async def test_a_mirror_that_hangs_is_left_alone_so_that_nobody_waits_for_it(self) -> None:
        async with serving(silent) as server, mirror_at(server.url("/simple/"), read_timeout=0.05) as mirror:
            await fail(mirror)
            began = time.monotonic()
            with pytest.raises(UpstreamUnreachable, match=r"the mirror did not answer lately; next try in \d+ s"):
                await mirror.fetch_page("demo", Identity("another", "Bearer other"))
            reply = await mirror.ask(Ask(Method.HEAD, server.url("/a")), SHARED)
            with pytest.raises(UpstreamUnreachable):
                await file_of(mirror, server.url("/a"))
            assert time.monotonic() - began < 0.5
            assert isinstance(reply, NoAnswer)
            assert reply.trouble is Trouble.BREAKER_OPEN
            assert len(server.requests) == FAILURES
            assert (mirror.breaker_open, mirror.health.state) == (True, "rests")

    @pytest.mark.parametrize("status", [502, 503, 504])
    async def test_a_gateway_that_finds_nobody_behind_it_counts_as_silence(self, status: int) -> None:
        async with serving(always(answer(status))) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror)
            assert mirror.breaker_open

    @pytest.mark.parametrize("ailing", [".metadata", ".whl", "/bad/"])
    @pytest.mark.parametrize("code", [502, 503, 504, None])
    async def test_what_fails_for_one_kind_of_path_or_for_one_page_is_not_the_mirrors_failure(self, ailing: str, code: int | None) -> None:
        """`None` closes the connection."""

        def say(path: str, _: object) -> bytes | None:
            return (None if code is None else answer(code)) if path.endswith(ailing) else page()

        async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
            for number in range(3):
                await mirror.fetch_page(f"p{number}", SHARED)
            for number in range(3 * FAILURES):
                if ailing == "/bad/":
                    with pytest.raises(UpstreamError):
                        await mirror.fetch_page("bad", SHARED)
                else:
                    await mirror.ask(Ask(Method.GET, server.url(f"/{number}{ailing}")), SHARED)
                assert not mirror.breaker_open
                await asyncio.sleep(0.01)
            await mirror.fetch_page("demo", SHARED)
            assert sum(path_of(head) in {"/simple/p0/", "/simple/p1/", "/simple/p2/"} for head in server.requests) <= 3 + 2

    async def test_files_that_all_fail_open_it_once_a_page_fails_too(self) -> None:
        well = True

        async with serving(saying(lambda *_: page() if well else answer(503))) as server, mirror_at(server.url("/simple/")) as mirror:
            await mirror.fetch_page("demo", SHARED)
            well = False
            for number in range(FAILURES + 1):
                await mirror.ask(Ask(Method.GET, server.url(f"/{number}.whl")), SHARED)
                await asyncio.sleep(0.02)
            assert mirror.breaker_open

    async def test_metadata_that_goes_on_failing_does_not_keep_a_mirror_shut_out_that_is_back(self) -> None:
        observer = Observer("demo", lambda: now, is_page=lambda path: path.endswith("/"))
        now = 0.0
        for number in range(FAILURES):
            observer.hear([Answer(503)], f"/{number}/")
        assert not observer.breaker.admits(1.0)
        for _ in range(5):
            now += 30.0
            assert observer.breaker.admits(now)
            observer.hear([Answer(503)], "/a.whl.metadata")
            assert observer.breaker.admits(now), "the next one is the trial"
            observer.breaker.abandoned()
        observer.hear([Answer(200)], None)
        assert not observer.breaker.open

    async def test_that_no_place_of_the_proxys_own_came_free_is_not_the_mirrors_failure(self) -> None:
        async with (
            serving(silent) as server,
            mirror_at(server.url("/simple/"), connections=1, read_timeout=0.3, connect_timeout=0.1) as mirror,
        ):
            asked = (mirror.ask(Ask(Method.GET, server.url(f"/{number}.whl")), SHARED) for number in range(FAILURES + 4))
            troubles = [reply.trouble for reply in await asyncio.gather(*asked) if isinstance(reply, NoAnswer)]
            assert troubles.count(Trouble.OWN_LIMIT) >= FAILURES
            assert (mirror.breaker_open, mirror.health.failures) == (False, len(troubles) - troubles.count(Trouble.OWN_LIMIT))

    @pytest.mark.parametrize("status", [401, 404, 429, 500])
    async def test_any_other_status_is_an_answer(self, status: int) -> None:
        async with serving(always(answer(status))) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror, FAILURES + 2)
            assert not mirror.breaker_open

    async def test_a_mirror_that_is_back_is_found_again(self) -> None:
        well = False
        async with serving(saying(lambda _, __: page() if well else None)) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror)
            well = True
            with pytest.raises(UpstreamUnreachable):
                await mirror.fetch_page("demo", SHARED)
            await asyncio.sleep(2.05)
            # While the trial is under way the others wait for what comes of it.
            await asyncio.gather(*(mirror.fetch_page(name, SHARED) for name in ("demo", "other", "another")))
            assert mirror.health.state == "answers"
            await asyncio.gather(*(mirror.fetch_page("demo", SHARED) for _ in range(5)))

    async def test_a_mirror_that_redirects_everything_is_found_again_by_its_probes(self) -> None:
        well = False

        def say(path: str, _: object) -> bytes | None:
            if not well:
                return None
            return answer(200, b"") if path == "/blob" else answer(302, location="/blob")

        async with serving(saying(say)) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror)
            well = True
            await asyncio.sleep(2.05)
            assert (await mirror.converse(probe(server.url("/a.whl")), SHARED)).status == 200

    async def test_a_trial_that_was_cancelled_is_made_by_the_next(self) -> None:
        said = [answer(503)] * FAILURES

        async def script(wire: Wire) -> None:
            while True:
                head = await wire.request()
                if path_of(head) == "/simple/hangs/":
                    await wire.closed_by_client()
                await wire.say(said.pop() if said else page())

        async with serving(script) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror)
            await asyncio.sleep(2.05)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(mirror.fetch_page("hangs", SHARED), 0.1)
            await mirror.fetch_page("demo", SHARED)
            assert not mirror.breaker_open

    async def test_what_happens_elsewhere_says_nothing_of_the_mirror(self) -> None:
        async with serving(silent) as elsewhere, serving(always(answer(302, location=elsewhere.url()))) as server:
            allowed = (f"127.0.0.1:{elsewhere.port}",)
            async with mirror_at(server.url("/simple/"), read_timeout=0.05, allow_hosts=allowed) as mirror:
                for _ in range(FAILURES + 1):
                    with pytest.raises(UpstreamTimeout):
                        await file_of(mirror, server.url("/a"))
                    with pytest.raises(UpstreamTimeout):
                        await file_of(mirror, elsewhere.url("/a"))
                assert not mirror.breaker_open
                assert mirror.health.failures == 0

    async def test_a_refused_destination_is_no_failure_of_the_mirror(self) -> None:
        location = "http://169.254.169.254/"
        async with serving(always(answer(302, location=location))) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror, FAILURES + 1)
            assert (mirror.breaker_open, mirror.health.state) == (False, "answers")


async def test_health_tells_the_last_answer_and_the_last_failure() -> None:
    well = True
    async with serving(saying(lambda _, __: page() if well else answer(503))) as server, mirror_at(server.url("/simple/")) as mirror:
        assert mirror.health.state == "unknown"
        await mirror.fetch_page("demo", SHARED)
        assert mirror.health.state == "answers"
        assert mirror.health.last_answer == pytest.approx(time.time(), abs=5)
        well = False
        await fail(mirror, 1)
        health = mirror.health
        assert (health.state, health.last_failure, health.requests, health.failures) == ("fails", "it answered 503", 2, 1)


async def test_probes_by_the_fast_lane_are_heard_of_too() -> None:
    async with serving(always(answer(200, length=5, server="Nexus/3.70"))) as server, mirror_at(server.url("/simple/")) as mirror:
        await mirror.converse(probe(server.url("/a.whl")), SHARED)
        assert (mirror.health.requests, mirror.kind) == (1, MirrorKind.NEXUS)


@pytest.mark.parametrize("trouble", [Trouble.FORBIDDEN_DESTINATION, Trouble.TOO_MANY_REDIRECTS, Trouble.BREAKER_OPEN])
def test_what_the_proxy_itself_refuses_is_no_news_of_the_mirror(trouble: Trouble) -> None:
    observer = Observer("demo", time.monotonic)
    observer.hear([NoAnswer(trouble)])
    assert (observer.health.state, observer.health.requests) == ("unknown", 0)


def test_nonsense_is_a_failure_but_no_silence() -> None:
    observer = Observer("demo", time.monotonic)
    for _ in range(2 * FAILURES):
        observer.hear([NoAnswer(Trouble.NOT_HTTP, at=1.0)])
    assert (observer.health.state, observer.breaker.open) == ("fails", False)


class TestKind:
    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("https://artifactory.example.com/artifactory/api/pypi/pypi/simple/", MirrorKind.ARTIFACTORY),
            ("https://packages.example.com/api/pypi/remote/simple/", MirrorKind.ARTIFACTORY),
            ("https://nexus.example.com/repository/pypi/simple/", MirrorKind.NEXUS),
            ("https://example.com/nexus/repository/pypi/simple/", MirrorKind.NEXUS),
            ("https://devpi.example.com/root/pypi/+simple/", MirrorKind.DEVPI),
            ("https://acme-1.d.codeartifact.eu-west-1.amazonaws.com/pypi/main/simple/", MirrorKind.CODEARTIFACT),
            ("https://mirror.example.com/simple/", MirrorKind.AUTO),
            ("https://mirror.example.com/pypi/web/simple/", MirrorKind.AUTO),
        ],
    )
    def test_an_address_tells_the_product(self, url: str, kind: MirrorKind) -> None:
        assert kind_by_address(url) is kind

    @pytest.mark.parametrize(
        ("headers", "kind"),
        [
            ({"server": "Artifactory/7.98.9 79809900"}, MirrorKind.ARTIFACTORY),
            ({"server": "nginx", "x-artifactory-node-id": "a"}, MirrorKind.ARTIFACTORY),
            ({"x-jfrog-version": "Artifactory/7"}, MirrorKind.ARTIFACTORY),
            ({"server": "Nexus/3.70.1 (OSS)"}, MirrorKind.NEXUS),
            ({"server": "waitress", "x-devpi-serial": "7"}, MirrorKind.DEVPI),
            ({"server": "nginx/1.27"}, MirrorKind.AUTO),
            ({"server": "AmazonS3"}, MirrorKind.AUTO),
            ({}, MirrorKind.AUTO),
        ],
    )
    def test_headers_tell_the_product_and_never_that_it_is_static(self, headers: dict[str, str], kind: MirrorKind) -> None:
        assert kind_by_headers(headers) is kind

    @pytest.mark.parametrize("configured", ["static", "other"])
    async def test_the_configured_kind_stands_whatever_the_answers_say(self, configured: str) -> None:
        async with serving(always(page(server="Nexus/3"))) as server, mirror_at(server.url("/simple/"), kind=configured) as mirror:
            await mirror.fetch_page("demo", SHARED)
            assert mirror.kind.value == configured

    async def test_another_hosts_headers_tell_nothing_of_the_mirror(self) -> None:
        async with (
            serving(always(answer(200, server="Nexus/3"))) as elsewhere,
            serving(always(page())) as server,
            mirror_at(server.url("/simple/"), allow_hosts=(f"127.0.0.1:{elsewhere.port}",)) as mirror,
        ):
            await file_of(mirror, elsewhere.url())
            assert mirror.kind is MirrorKind.AUTO

    async def test_the_first_answer_that_tells_is_believed(self) -> None:
        async with serving(always(answer(404, x_devpi_serial="1"))) as server, mirror_at(server.url("/simple/")) as mirror:
            await fail(mirror, 1)
            assert mirror.kind is MirrorKind.DEVPI
