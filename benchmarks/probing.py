"""How dear a probe is: the project's fast lane beside a plain C client and other Python clients.

    python benchmarks/probing.py [--rounds 5] [--count 5000] [--only fastlane,session]

Compiles `probes.c` and `delayed.c`, starts nginx and a delaying server on loopback, runs every client in every scenario, interleaved
so that a busy moment of the machine hits all of them, and prints medians of wall time and of processor time as ratios to the
C client. It needs nginx, cc with OpenSSL's headers, and trustme, httptools and pycurl from PyPI; a client that cannot be imported
is left out. About two minutes with three rounds on two cores.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import trustme

HERE = Path(__file__).parent
DELAY_MS = 20
NEEDS = {"httptools": "httptools", "curl": "pycurl"}
CLIENTS = ("fastlane", "fastlane-asyncio", "httptools", "connector", "session", "curl")

NGINX = """
{user}
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000; sendfile on;
    types {{ }} default_type application/octet-stream;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{plain} backlog=2048; root {folder}/www; }}
    server {{
        listen 127.0.0.1:{tls} ssl backlog=2048; root {folder}/www;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    }}
}}
"""


@dataclass(frozen=True)
class Scenario:
    """What every client is asked to do, and where."""

    name: str
    scheme: str
    port: int
    connections: int
    method: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(command: list[str], core: int) -> list[str]:
    """Gives the command on a core of its own: else the scheduler often wakes the server on the client's, and both wait."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core), *command] if taskset and (os.cpu_count() or 1) > 1 else command


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Runs a server until the block ends, which begins once the port answers."""
    server = subprocess.Popen(pinned(command, 0), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            time.sleep(0.05)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        else:
            raise SystemExit(f"{command[0]} does not listen")
        yield
    finally:
        server.terminate()
        server.wait(10)


def prepared(folder: Path, count: int) -> None:
    """Writes the files to ask for, a certificate, and the two C programs."""
    folder.chmod(0o755)
    files = folder / "www" / "files"
    files.mkdir(parents=True)
    for number in range(count):
        (files / f"{number:05d}.whl").write_bytes(b"P" * 1024)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, libraries in (("probes", ["-lssl", "-lcrypto"]), ("delayed", [])):
        subprocess.run(["cc", "-O2", "-o", folder / name, HERE / f"{name}.c", *libraries], check=True)


def one_run(folder: Path, client: str, scenario: Scenario, count: int) -> tuple[float, float]:
    """Gives wall time and processor time of one run, in milliseconds."""
    tls = scenario.scheme == "https"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    authorities = [str(folder / "ca.pem")] if tls else []
    numbers = [str(scenario.port), str(scenario.connections), str(count)]
    if client == "c":
        command = [str(folder / "probes"), "127.0.0.1", *numbers, f"{'tls-' if tls else ''}{scenario.method}", *authorities]
    else:
        command = [sys.executable, str(HERE / "probing_clients.py"), client, scenario.scheme, *numbers, scenario.method, *authorities]
    printed = subprocess.run(pinned(command, 1), check=True, capture_output=True, text=True, timeout=60, env=environment).stdout
    wall, cpu, good = map(int, printed.split())
    if good != count:
        raise SystemExit(f"{client} got {good} good answers of {count} in {scenario.name}")
    return wall / 1000, cpu / 1000


def main() -> None:
    arguments = argparse.ArgumentParser(description="Compares the price of a probe between clients.")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--count", type=int, default=5000)
    arguments.add_argument("--only", default=",".join(CLIENTS), help="clients beside the C one, comma-separated")
    given = arguments.parse_args()
    clients = ["c", *(name for name in given.only.split(",") if find_spec(NEEDS.get(name, "aiohttp")))]
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prepared(folder, given.count)
        plain, tls, late = free_port(), free_port(), free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX.format(user=user, folder=folder, plain=plain, tls=tls))
        stack.enter_context(running([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")], plain))
        stack.enter_context(running([str(folder / "delayed"), str(late), str(DELAY_MS)], late))
        scenarios = [
            Scenario("HEAD, 64 connections", "http", plain, 64, "head"),
            Scenario("range of one byte, 64", "http", plain, 64, "range"),
            Scenario("HEAD over TLS, 64", "https", tls, 64, "head"),
            Scenario(f"HEAD, {DELAY_MS} ms away, 256", "http", late, 256, "head"),
        ]
        results: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        for number in range(given.rounds):
            for scenario in scenarios:
                for client in clients:
                    results[scenario.name, client].append(one_run(folder, client, scenario, given.count))
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    for scenario in scenarios:
        base = [statistics.median(part) for part in zip(*results[scenario.name, "c"], strict=True)]
        print(f"\n{scenario.name}, {given.count} files (C client: {base[0]:.0f} ms, of it {base[1]:.0f} ms processor)")
        print(f"{'client':20}{'wall':>8}{'ratio':>8}{'best':>8}{'cpu':>8}{'ratio':>8}")
        for client in clients:
            runs = results[scenario.name, client]
            wall, cpu = (statistics.median(part) for part in zip(*runs, strict=True))
            best = min(run[0] for run in runs) / min(run[0] for run in results[scenario.name, "c"])
            print(f"{client:20}{wall:8.0f}{wall / base[0]:8.2f}{best:8.2f}{cpu:8.0f}{cpu / base[1]:8.2f}")


if __name__ == "__main__":
    main()
