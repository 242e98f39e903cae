"""TLS sessions are resumed, by the same context and for the same name, and never for what was not verified lately."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trustme

from proxy.core.errors import UpstreamUnreachable
from proxy.core.identity import SHARED
from proxy.upstream import FetchedPage
from proxy.upstream.tls_sessions import RESUMED_FOR, resume_sessions, resuming
from tests.clock import Clock
from tests.edge.dialling import mirror_at, page
from tests.edge.scripted import always, on_both_loops, serving

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving_context(authority: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, tickets: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert("127.0.0.1", "one.example", "other.example").configure_cert(context)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def dialling_context(authority: trustme.CA, clock: Callable[[], float] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    resume_sessions(context, clock or Clock())
    return context


class Echo:
    """A server that says back what it hears; `tls` may change from one connection to the next."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tls = tls

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[..., Awaitable[bool]]]:
        """Give a function that makes a connection and returns whether that resumed a session."""

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while said := await reader.read(10):
                    writer.write(said)
            writer.transport.abort()

        servers: dict[ssl.SSLContext, asyncio.Server] = {}
        open_ones: list[asyncio.StreamWriter] = []

        async def resumes(context: ssl.SSLContext, name: str = "one.example") -> bool:
            if self.tls not in servers:
                servers[self.tls] = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=self.tls)
            port = servers[self.tls].sockets[0].getsockname()[1]
            dial = partial(asyncio.open_connection, "127.0.0.1", port, ssl=context, server_hostname=name)
            reader, writer = await resuming(dial, 40.0)
            open_ones.append(writer)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            return bool(writer.get_extra_info("ssl_object").session_reused)

        try:
            yield resumes
        finally:
            for writer in open_ones:
                writer.transport.abort()
            for server in servers.values():
                server.close()
            await asyncio.sleep(0.01)


@VERSIONS
@on_both_loops
async def test_connections_after_the_first_resume_its_session(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    context = dialling_context(authority)
    async with Echo(serving_context(authority, version)).running() as resumes:
        assert [await resumes(context) for _ in range(4)] == [False, True, True, True]
        assert all(await asyncio.gather(*(resumes(context) for _ in range(8))))


@VERSIONS
@on_both_loops
async def test_without_tickets_a_session_is_resumed_where_the_server_remembers_it(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    context = dialling_context(authority)
    tls = serving_context(authority, version, tickets=False)
    async with Echo(tls).running() as resumes:
        # Without tickets a server of TLS 1.2 resumes from its memory.
        assert [await resumes(context) for _ in range(3)] == [False] + 2 * [version is ssl.TLSVersion.TLSv1_2]


@VERSIONS
@on_both_loops
async def test_a_server_that_forgot_the_session_gets_a_full_handshake_and_the_next_one_resumes(
    authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    context = dialling_context(authority)
    echo = Echo(serving_context(authority, version))
    async with echo.running() as resumes:
        assert [await resumes(context) for _ in range(2)] == [False, True]
        # Another context has other keys for its tickets.
        echo.tls = serving_context(authority, version)
        assert [await resumes(context) for _ in range(2)] == [False, True]


@VERSIONS
@on_both_loops
async def test_a_session_is_for_its_name_and_its_context(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    context = dialling_context(authority)
    async with Echo(serving_context(authority, version)).running() as resumes:
        assert [await resumes(context) for _ in range(2)] == [False, True]
        assert not await resumes(context, "other.example")
        assert not await resumes(dialling_context(authority))
        assert await resumes(context, "other.example")


@VERSIONS
@on_both_loops
async def test_certificates_are_verified_again_after_a_while_however_often_sessions_were_renewed(
    authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    clock = Clock()
    context = dialling_context(authority, clock)
    async with Echo(serving_context(authority, version)).running() as resumes:
        assert not await resumes(context)
        clock.passes(RESUMED_FOR / 2)
        assert await resumes(context)
        clock.passes(RESUMED_FOR / 2)
        assert not await resumes(context)
        assert await resumes(context)


@on_both_loops
async def test_a_certificate_by_another_authority_is_refused_though_a_session_is_at_hand(authority: trustme.CA) -> None:
    context = dialling_context(authority)
    echo = Echo(serving_context(authority))
    async with echo.running() as resumes:
        assert [await resumes(context) for _ in range(2)] == [False, True]
        echo.tls = serving_context(trustme.CA())
        for _ in range(2):
            with pytest.raises(ssl.SSLCertVerificationError):
                await resumes(context)


async def test_pages_and_files_resume_one_session_and_a_mirror_that_is_made_anew_resumes_none(
    authority: trustme.CA, tmp_path: Path
) -> None:
    bundle, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(bundle)
    trustme.CA().cert_pem.write_to_path(other)
    tls = serving_context(authority)
    async with serving(always(page()), tls=tls) as server:
        address = server.url("/simple/", "https")
        async with mirror_at(address, ca_bundle=bundle) as mirror:
            assert isinstance(await mirror.fetch_page("demo", SHARED), FetchedPage)
            async with mirror.download("GET", server.url("/a.whl", "https"), SHARED) as download:
                assert download.status == 200
        stats = tls.session_stats()
        assert (stats["accept_good"], stats["hits"]) == (2, 1)
        # As after a reload whose settings trust that authority no more.
        async with mirror_at(address, ca_bundle=other) as mirror:
            with pytest.raises(UpstreamUnreachable):
                await mirror.fetch_page("demo", SHARED)
        assert tls.session_stats()["hits"] == 1
