"""Warm pages: requests per second of mirrormend beside nginx, a bare aiohttp handler, and proxpi.

    python benchmarks/serving.py [--rounds N] [--seconds S] [--proxpi PYTHON]

Every server gives the same bytes, those of the mended page, to wrk with 8 connections that are kept alive; each round asks all of them.
mirrormend writes a line of JSON per request, as it does by default; nginx writes no access log. proxpi, where the Python of
a virtual environment that has it (and gunicorn) is given, makes its own page of the same upstream.
"""

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import made
import mirrors

_LINKS = 3000
_NGINX = """
worker_processes 1;
pid {here}/static.pid;
error_log {here}/static.log;
daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; etag on; keepalive_requests 1000000000;
  default_type application/vnd.pypi.simple.v1+json;
  open_file_cache max=100 inactive=600s; open_file_cache_valid 600s;
  gzip_static on;
  server {{ listen 127.0.0.1:{port}; root {here}; }}
}}
"""
_BARE = """
import asyncio, sys, uvloop
from pathlib import Path
from aiohttp import web
content, port = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
headers = {"ETag": '"0123"', "Vary": "Accept, Accept-Encoding", "Cache-Control": "no-cache", "Content-Encoding": "gzip"}
async def page(request): return web.Response(body=content, headers=headers, content_type="application/vnd.pypi.simple.v1+json")
async def main():
    app = web.Application()
    app.router.add_get("/simple/{project}/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()
uvloop.run(main())
"""

Asked = tuple[made.Server, str, Mapping[str, str]]


def fetch(port: int, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Gives status, headers by lower-case name, and body as it comes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"User-Agent": "wrk", **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def verified(port: int, path: str, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Gives headers and body of a page once the proxy has verified all of it."""
    made.settled(lambda: fetch(port, path, headers)[1].get("mirrormend-verified") == "complete")
    _, given, body = fetch(port, path, headers)
    return given, body


def load(asked: Asked, seconds: float) -> tuple[float, float]:
    """Gives requests per second, and microseconds of the server's CPU for each."""
    server, path, headers = asked
    lines = [argument for name, value in headers.items() for argument in ("-H", f"{name}: {value}")]
    before = server.cpu()
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "--timeout", "20s", *lines, f"http://127.0.0.1:{server.port}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said and "If-None-Match" not in headers:
        raise SystemExit(f"wrk {path}: {said}")
    count = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    per_second = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    return per_second, (server.cpu() - before) / max(1, count) * 1e6


def compare(title: str, servers: Mapping[str, Asked], rounds: int, seconds: float) -> None:
    """Asks all servers in turn, and prints how the first compares with each other one."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, asked in servers.items():
            found[name].append(load(asked, seconds))
    ours = next(iter(servers))
    print(title)
    for name, rows in found.items():
        speed = statistics.median(each[0] for each in rows)
        cpu = statistics.median(each[1] for each in rows)
        ratio = "" if name == ours else made.ratios([each[0] for each in found[ours]], [each[0] for each in rows])
        print(f"  {name:22} {speed:9.0f}/s {cpu:8.0f} µs CPU   {'mirrormend is' if ratio else '':13} {ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--proxpi", help="a Python that has proxpi and gunicorn")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        here = Path(folder)
        here.chmod(0o755)
        origin = stack.enter_context(mirrors.nginx(made.tree(here / "tree", {"large": _LINKS}), rules=made.FILES))
        upstream = f"http://127.0.0.1:{origin}{mirrors.SIMPLE}"
        ours = stack.enter_context(made.proxy(upstream))
        zipped = {"Accept": made.JSON_TYPE, "Accept-Encoding": "gzip"}
        plain = {"Accept": made.JSON_TYPE, "Accept-Encoding": "identity"}
        _, large = verified(ours.port, "/simple/large/", zipped)
        tags, whole = verified(ours.port, "/simple/large/", plain)
        (here / "large.gz").write_bytes(large)
        (here / "large").write_bytes(whole)
        port = mirrors.free_port()
        (here / "static.conf").write_text(_NGINX.format(here=here, port=port))
        static = stack.enter_context(made.running(["/usr/sbin/nginx", "-c", str(here / "static.conf"), "-p", folder], port))
        port = mirrors.free_port()
        bare = stack.enter_context(made.running([sys.executable, "-c", _BARE, str(here / "large.gz"), str(port)], port))
        page: dict[str, Asked] = {
            "mirrormend": (ours, "/simple/large/", zipped),
            "nginx gzip_static": (static, "/large", zipped),
            "bare aiohttp, uvloop": (bare, "/simple/large/", zipped),
        }
        if words.proxpi:
            port = mirrors.free_port()
            command = [words.proxpi, "-m", "gunicorn", "--threads", "2", "-b", f"127.0.0.1:{port}", "proxpi.server:app"]
            environment = {"PROXPI_INDEX_URL": upstream, "PROXPI_INDEX_TTL": "86400", "PROXPI_CACHE_DIR": str(here / "proxpi")}
            proxpi = stack.enter_context(made.running(command, port, environment))
            page["proxpi"] = (proxpi, "/index/large/", zipped)
        compare(f"page of {_LINKS} files, gzip ({len(large)} bytes)", page, words.rounds, words.seconds)
        pair: dict[str, Asked] = {"mirrormend": (ours, "/simple/large/", plain), "nginx sendfile": (static, "/large", plain)}
        compare(f"page of {len(whole)} bytes, identity", pair, words.rounds, words.seconds)
        etag = fetch(static.port, "/large", plain)[1]["etag"]
        pair = {
            "mirrormend": (ours, "/simple/large/", {**plain, "If-None-Match": tags["etag"]}),
            "nginx": (static, "/large", {**plain, "If-None-Match": etag}),
        }
        for name, (server, path, headers) in pair.items():
            if fetch(server.port, path, headers)[0] != 304:
                raise SystemExit(f"{name} does not answer 304")
        compare("304", pair, words.rounds, words.seconds)


if __name__ == "__main__":
    main()
