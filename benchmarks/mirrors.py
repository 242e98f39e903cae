"""Stand-in mirrors for the benchmarks: the jupyter world behind nginx on loopback, healthy or without macOS wheels, near or 20 ms away.

They speak plain HTTP, or TLS with HTTP/2 for whoever asks for it.
The tree is built once per folder: pages in JSON and HTML, and for each release one real wheel that all its wheel files are links to.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import trustme

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.listing import HTML_TYPE, JSON_TYPE
from tests.world import World

ROOT = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("BENCHMARK_FOLDER") or Path(tempfile.gettempdir()) / "mirrormend-bench")
"""Holds what is built once. The variable is not called MIRRORMEND_…: the proxy refuses to start with a setting that it does not know."""
SIMPLE = "/artifactory/api/pypi/pypi/simple/"
PACKAGES = "/artifactory/api/pypi/pypi/packages/packages/"


def build(target: Path = BUILD / "tree", copies: int = 1) -> Path:
    """Writes the tree below `target` unless it is there; `copies` repeats all projects under other names, with the same files."""
    mark = target / f"complete-{copies}"
    if mark.exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    for project in World.load().projects.values():
        for listed in project.files.values():
            place = target / PACKAGES.strip("/") / listed.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(listed.content() if listed.content is not None else b"")
        for number in range(copies):
            name = f"{project.name}-copy{number}" if number else project.name
            folder = target / SIMPLE.strip("/") / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "index.json").write_bytes(project.page(JSON_TYPE).body.replace(project.name.encode(), name.encode(), 1))
            (folder / "index.html").write_bytes(project.page(HTML_TYPE).body)
    mark.touch()
    return target


@dataclass(frozen=True)
class Authority:
    """An authority of certificates, and one by it for this machine; by RSA of 2048 bits, as most have it."""

    bundle: Path
    certificate: Path

    @classmethod
    def make(cls) -> "Authority":
        """Write new ones below `BUILD`."""
        folder = BUILD / "tls"
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder / "ca.pem", folder / "server.pem")
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        authority.cert_pem.write_to_path(made.bundle)
        authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.RSA).private_key_and_cert_chain_pem.write_to_path(
            made.certificate
        )
        return made

    def rules(self, version: str) -> str:
        """Return the settings of a server that speaks this version of TLS."""
        return f"""
    ssl_certificate {self.certificate}; ssl_certificate_key {self.certificate};
    ssl_protocols TLSv{version}; ssl_session_cache shared:mirror:10m; ssl_session_timeout 1h;
"""


_CONFIG = """
worker_processes 1;
worker_rlimit_nofile 20000;
pid {here}/nginx.pid;
error_log {here}/error.log;
daemon off;
events {{ worker_connections 4096; }}
http {{
  log_format told '$connection $ssl_session_reused $server_protocol $status "$request"';
  access_log {log};
  types {{ text/html html; application/vnd.pypi.simple.v1+json json; }}
  default_type application/octet-stream;
  keepalive_requests 1000000;
  sendfile on; tcp_nodelay on; etag on;
  gzip on; gzip_types application/vnd.pypi.simple.v1+json; gzip_comp_level 1;
  map $http_accept $index_file {{ default index.html; "~simple.v1\\+json" index.json; }}
  {before}
  server {{
    listen 127.0.0.1:{port} backlog=2048{tls};
    {server}
    {rules}
  }}
}}
"""

_TREE = """
    root {tree};
    location {simple} {{ try_files $uri$index_file =404; }}
"""

_CACHE = """
  proxy_cache_path {here}/cache keys_zone=files:10m;
  upstream mirror {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 1000000; }}
"""

_CACHED = """
    location / {{
      proxy_pass {scheme}://mirror;
      proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      {trusted}
      proxy_cache files; proxy_cache_valid 200 1h;
      proxy_cache_key $uri$http_accept$http_accept_encoding;
    }}
"""

DEAD_MACOS = 'location ~ macosx { return 404 \'{"errors":[{"status":404,"message":"Could not find resource"}]}\'; }'


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


_ERRORS_SHOWN = 4000
"""Bytes of the end of what a server wrote that are shown when it does not start."""


@contextmanager
def listening(
    command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `command` once it listens on `port` of loopback; end the benchmark with its error output if it does not."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=cwd, env={**os.environ, **(environment or {})})
        try:
            await_port(process, port, lambda: _end_of(errors))
            yield process
        finally:
            process.terminate()
            process.wait()


def _end_of(errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _ERRORS_SHOWN))
    return errors.read().decode(errors="replace")


def await_port(process: "subprocess.Popen[bytes]", port: int, said: Callable[[], str] = str) -> None:
    """Wait until `process` listens on `port` of loopback; end the benchmark with what it `said` if it ends, or does not in time."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"nothing listens on port {port} after {process.args!r}\n{said()}")


@contextmanager
def nginx(tree: Path, *, rules: str = "", log: Path | None = None, tls: str = "") -> Iterator[int]:
    """Run nginx on a free loopback port over the tree, with TLS and HTTP/2 if `tls` are the settings for it; yield the port."""
    with _nginx(_TREE.format(tree=tree, simple=SIMPLE), rules=rules + tls, log=log, tls=" ssl http2" if tls else "") as port:
        yield port


@contextmanager
def cache(port: int, authority: Authority | None = None) -> Iterator[int]:
    """Run nginx as a cache of the mirror at `port`, which has a certificate by `authority` if one is given; yield the cache's port."""
    trusted = ""
    if authority is not None:
        trusted = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority.bundle}; proxy_ssl_name localhost; "
        trusted += "proxy_ssl_protocols TLSv1.2 TLSv1.3;"
    server = _CACHED.format(scheme="http" if authority is None else "https", trusted=trusted)
    with tempfile.TemporaryDirectory() as folder:
        # Its workers are another user.
        Path(folder).chmod(0o755)
        with _nginx(server, before=_CACHE.format(here=folder, port=port)) as own:
            yield own


@contextmanager
def _nginx(server: str, *, rules: str = "", before: str = "", log: Path | None = None, tls: str = "") -> Iterator[int]:
    port = free_port()
    here = BUILD / f"nginx-{port}"
    here.mkdir(parents=True, exist_ok=True)
    config = here / "nginx.conf"
    told = "off" if log is None else f"{log} told"
    config.write_text(_CONFIG.format(here=here, port=port, server=server, rules=rules, before=before, log=told, tls=tls))
    found = shutil.which("nginx") or "/usr/sbin/nginx"
    with listening([found, "-c", str(config), "-p", str(here)], port):
        yield port


def compiled(source: str, *libraries: str) -> Path:
    """Compiles a C program of this folder, unless that was done before."""
    target = BUILD / Path(source).stem
    origin = ROOT / source
    if not target.exists() or target.stat().st_mtime < origin.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(target), str(origin), *libraries], check=True)
    return target


@contextmanager
def distant(port: int, milliseconds: int) -> Iterator[int]:
    """Runs a relay before `port` that delays what the server says; gives the relay's port."""
    own = free_port()
    with listening([str(compiled("distance.c")), str(own), str(port), str(milliseconds)], own):
        yield own


@contextmanager
def proxy(upstream: str, store: str, *options: str, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Runs mirrormend before `upstream`; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "proxy", "serve", "--upstream", upstream, "--listen", f"127.0.0.1:{port}", "--store", store]
    with listening([*command, *options], port, environment=environment, cwd=ROOT.parent):
        yield port
