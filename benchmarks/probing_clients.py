"""The clients that `probing.py` compares, one run of one client to a process.

    python benchmarks/probing_clients.py NAME SCHEME PORT CONNECTIONS COUNT head|range [AUTHORITIES.pem]

Each asks for /files/00000.whl and so on, COUNT distinct files over at most CONNECTIONS connections, and prints
"WALL_US CPU_US GOOD": microseconds passed and microseconds of its own processor time, both from before the first connection on,
and answers with a status of 200 or 206.
"""

import asyncio
import gc
import importlib
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from yarl import URL

from proxy.core.flows.exchange import Ask, Flow, Method, NoAnswer, Reply
from proxy.core.identity import SHARED, Identity
from proxy.upstream.converse import Conversations
from proxy.upstream.fastlane import FastLane
from proxy.upstream.pace import Pace


@dataclass(frozen=True)
class Job:
    """What is asked: `count` files of the server at `port`, whole heads or, `ranged`, the first byte of each."""

    scheme: str
    port: int
    connections: int
    count: int
    ranged: bool
    authorities: str | None

    @property
    def origin(self) -> str:
        """The server's root, with a slash."""
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    @property
    def tls(self) -> ssl.SSLContext | None:
        """A context that trusts the authorities given, and nobody else."""
        return ssl.create_default_context(cafile=self.authorities) if self.scheme == "https" else None

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries beside its Host."""
        common = {"User-Agent": "probes", "Accept-Encoding": "identity"}
        return {**common, "Range": "bytes=0-0"} if self.ranged else common

    def wire(self, number: int) -> bytes:
        """The bytes of the request for file `number`."""
        lines = [f"{'GET' if self.ranged else 'HEAD'} /files/{number:05d}.whl HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def fastlane(job: Job) -> int:
    """The project's own: conversations over the fast lane."""

    async def resolver() -> list[tuple[int, str]]:
        return [(socket.AF_INET, "127.0.0.1")]

    async def slow(ask: Ask, who: Identity, _: Callable[[], None]) -> Reply:
        raise AssertionError(f"{ask.url} for {who.key!r} is no work for the slow lane")

    head = Method.HEAD

    def probe(url: str) -> Flow[int]:
        reply = yield Ask(Method.GET, url, 0, 0, 1) if job.ranged else Ask(head, url)
        return 0 if isinstance(reply, NoAnswer) else reply.status

    lane = FastLane(
        host="127.0.0.1",
        port=job.port,
        tls=job.tls,
        server_hostname=None,
        connections=job.connections,
        connect_timeout=10,
        read_timeout=10,
        headers={"User-Agent": "probes", "Accept-Encoding": "identity"},
        resolver=resolver,
    )
    origin = job.origin
    talks = Conversations(
        slow, lane, Pace(job.connections), authorization_for=lambda _: None, retries=2, own_origin=lambda url: url.startswith(origin)
    )
    learned: dict[int, int] = {}
    flows = ((number, probe(f"{origin}files/{number:05d}.whl")) for number in range(job.count))
    await talks.all(flows, SHARED, learned=learned.__setitem__)
    return sum(status in {200, 206} for status in learned.values())


class Parsed(asyncio.Protocol):
    """A connection of a few lines around httptools; a new parser for each answer, since it has no mode for HEAD."""

    def __init__(self, job: Job, numbers: Iterator[int], ended: Callable[[int], None], parser: Callable[["Parsed"], Any]) -> None:
        self.job = job
        self.numbers = numbers
        self.ended = ended
        self.make_parser = parser

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the first file."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Asks for the next file."""
        number = next(self.numbers, None)
        if number is not None:
            self.headers: dict[bytes, bytes] = {}
            self.parser = self.make_parser(self)
            self.transport.write(self.job.wire(number))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header."""
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Ends an answer without a body."""
        if not self.job.ranged:
            self.end()

    def on_message_complete(self) -> None:
        """Ends an answer with a body."""
        if self.job.ranged:
            self.end()

    def end(self) -> None:
        """Counts an answer, and asks on once the parser has returned."""
        self.ended(self.parser.get_status_code())
        asyncio.get_running_loop().call_soon(self.ask)

    def data_received(self, data: bytes) -> None:
        """Parses."""
        self.parser.feed_data(data)


async def parser(job: Job) -> int:
    """The parser of httptools, and a protocol of a few lines around it."""
    make_parser = importlib.import_module("httptools").HttpResponseParser
    loop = asyncio.get_running_loop()
    numbers = iter(range(job.count))
    finished = loop.create_future()
    statuses: list[int] = []

    def ended(status: int) -> None:
        statuses.append(status)
        if len(statuses) == job.count:
            finished.set_result(None)

    def connection() -> Parsed:
        return Parsed(job, numbers, ended, make_parser)

    tls = job.tls
    await asyncio.gather(*(loop.create_connection(connection, "127.0.0.1", job.port, ssl=tls) for _ in range(job.connections)))
    await finished
    return sum(status in {200, 206} for status in statuses)


async def workers(job: Job, ask: Callable[[int], Awaitable[int]]) -> int:
    """Runs `ask`, which gives a status, for each number, in as many tasks as there are connections."""
    numbers = iter(range(job.count))
    good = 0

    async def work() -> None:
        nonlocal good
        for number in numbers:
            status = await ask(number)
            good += status in {200, 206}

    await asyncio.gather(*(work() for _ in range(job.connections)))
    return good


async def session(job: Job) -> int:
    """The ClientSession of aiohttp, with all that can be left out left out."""
    connector = aiohttp.TCPConnector(limit=job.connections, ssl=job.tls or True)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
        skip_auto_headers=("Accept",),
        headers=job.headers,
    ) as client:

        async def ask(number: int) -> int:
            url = URL(f"{job.origin}files/{number:05d}.whl", encoded=True)
            async with client.request("GET" if job.ranged else "HEAD", url, allow_redirects=False) as response:
                await response.content.read()
                return response.status

        return await workers(job, ask)


async def connector(job: Job) -> int:
    """The connector and the parser of aiohttp, without its `_request`."""
    loop = asyncio.get_running_loop()
    pool = aiohttp.TCPConnector(limit=job.connections, ssl=job.tls or True)
    timeout = aiohttp.ClientTimeout()
    request = ClientRequest("HEAD", URL(job.origin), loop=loop)

    async def ask(number: int) -> int:
        connection = await pool.connect(request, [], timeout)
        protocol = connection.protocol
        assert protocol is not None
        assert connection.transport is not None
        protocol.set_response_params(skip_payload=not job.ranged, auto_decompress=False)
        connection.transport.write(job.wire(number))
        message, payload = await protocol.read()
        if job.ranged:
            await payload.read()
        connection.release()
        return int(message.code)

    good = await workers(job, ask)
    await pool.close()
    return good


def curl(job: Job) -> int:
    """The multi interface of libcurl."""
    pycurl = importlib.import_module("pycurl")
    numbers = iter(range(job.count))
    good = done = 0
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, job.connections)
    multi.setopt(pycurl.M_MAXCONNECTS, job.connections)
    handles = []
    for _ in range(job.connections):
        handle = pycurl.Curl()
        handle.setopt(pycurl.NOBODY, not job.ranged)
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in job.headers.items()] + ["Accept:"])
        handle.setopt(pycurl.WRITEFUNCTION, lambda _: None)
        handle.setopt(pycurl.HEADERFUNCTION, lambda _: None)
        handle.setopt(pycurl.NOSIGNAL, True)
        if job.authorities:
            handle.setopt(pycurl.CAINFO, job.authorities)
        handles.append(handle)

    def ask(handle: Any) -> None:
        number = next(numbers, None)
        if number is not None:
            handle.setopt(pycurl.URL, f"{job.origin}files/{number:05d}.whl")
            multi.add_handle(handle)

    for handle in handles:
        ask(handle)
    while done < job.count:
        multi.perform()
        waiting, ended, failed = multi.info_read()
        for handle, *_ in [*((each,) for each in ended), *failed]:
            done += 1
            good += handle.getinfo(pycurl.RESPONSE_CODE) in {200, 206}
            multi.remove_handle(handle)
            ask(handle)
        if not ended and not failed and not waiting:
            multi.select(0.1)
    return good


CLIENTS = {
    "fastlane": (fastlane, "uvloop"),
    "fastlane-asyncio": (fastlane, "asyncio"),
    "httptools": (parser, "uvloop"),
    "connector": (connector, "uvloop"),
    "session": (session, "uvloop"),
    "curl": (curl, None),
}


def main() -> None:
    name, scheme, port, connections, count, method, *authorities = sys.argv[1:]
    job = Job(scheme, int(port), int(connections), int(count), method == "range", authorities[0] if authorities else None)
    client, loop = CLIENTS[name]
    for module in {"httptools": ["httptools", "uvloop"], "curl": ["pycurl"]}.get(name, ["uvloop"]):
        importlib.import_module(module)
    # One full collection of what the imports left would cost as much as a thousand probes.
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    good = client(job) if loop is None else importlib.import_module(loop).run(client(job))
    print(round((time.perf_counter() - wall) * 1e6), round((time.process_time() - cpu) * 1e6), good)


if __name__ == "__main__":
    main()
