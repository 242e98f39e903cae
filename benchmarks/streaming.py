"""A large file through mirrormend, beside nginx `proxy_pass` with default buffers, both before the same nginx.

    python benchmarks/streaming.py [--rounds N] [--size MB] [--no-hash] [--range]

The page tells its SHA-256, which mirrormend compares. One client reads the file whole, again and again, from each server in turn;
each figure is the bytes of the file by the time until the last. With `--range` it asks for all but the first MiB (`bytes=1048576-`), as
who goes on with a file that broke off; there is no digest of a part.
"""

import argparse
import hashlib
import socket
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import made
import mirrors

_NAME = "large-1.0-py3-none-any.whl"
_RELAY = """
worker_processes 1;
pid {here}/relay.pid;
error_log {here}/relay.log;
daemon off;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  proxy_temp_path {here}/relayed;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def read(port: int, path: str, size: int, first: int = 0) -> float:
    """Return the seconds that it took to read a file of `size` bytes, from byte `first` on; end the run where it was not whole."""
    buffer = bytearray(1 << 20)
    ranged = f"Range: bytes={first}-\r\n" if first else ""
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{ranged}\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        if (b" 206 " if first else b" 200 ") not in head[:16]:
            raise SystemExit(head.decode())
        got = len(head.partition(b"\r\n\r\n")[2])
        while count := connection.recv_into(buffer):
            got += count
    if got != size - first:
        raise SystemExit(f"{got} of {size - first} bytes from {port}{path}")
    return time.perf_counter() - started


def write_tree(target: Path, size: int, *, hashed: bool) -> str:
    """Write a page with one file of `size` bytes, with its SHA-256 where it is `hashed`; return the path of the file."""
    made.tree(target, {"large": 1})
    place = target / mirrors.PACKAGES.strip("/") / _NAME
    place.parent.mkdir(parents=True)
    digest = hashlib.sha256()
    with place.open("wb") as file:
        for _ in range(size >> 20):
            file.write(b"\x5a" * (1 << 20))
            digest.update(b"\x5a" * (1 << 20))
    link = f"../../packages/packages/{_NAME}{f'#sha256={digest.hexdigest()}' if hashed else ''}"
    page = f'<!DOCTYPE html><html><body><a href="{link}">{_NAME}</a></body></html>'
    (target / mirrors.SIMPLE.strip("/") / "large" / "index.html").write_text(page)
    (target / mirrors.SIMPLE.strip("/") / "large" / "index.json").unlink()
    return f"{mirrors.PACKAGES}{_NAME}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, default=200, help="of the file, in MB")
    parser.add_argument("--no-hash", action="store_true", help="leave the SHA-256 off the page, so that nothing is compared with it")
    parser.add_argument("--range", action="store_true", help="ask for all but the first MiB")
    words = parser.parse_args()
    size, first = words.size << 20, int(words.range) << 20
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        here = Path(folder)
        here.chmod(0o755)
        path = write_tree(here / "tree", size, hashed=not words.no_hash)
        rules = f"location {mirrors.SIMPLE}large/ {{ try_files $uri/index.html =404; }}"
        origin = stack.enter_context(mirrors.nginx(here / "tree", rules=rules))
        ours = stack.enter_context(made.proxy(f"http://127.0.0.1:{origin}{mirrors.SIMPLE}"))
        port = mirrors.free_port()
        (here / "relay.conf").write_text(_RELAY.format(here=here, port=port, origin=origin))
        relay = stack.enter_context(made.running(["/usr/sbin/nginx", "-c", str(here / "relay.conf"), "-p", folder], port))
        asked = {
            "mirrormend": (ours, f"/files/large/{_NAME}"),
            "nginx proxy_pass": (relay, path),
            "no proxy": (made.Server(ours.process, origin), path),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
        for _ in range(words.rounds):
            for name, (server, where) in asked.items():
                before = server.cpu()
                seconds = read(server.port, where, size, first)
                found[name].append(((size - first) / seconds / 1e6, server.cpu() - before))
    print(f"a file of {words.size} MB")
    for name, rows in found.items():
        ratio = "" if name == "mirrormend" else made.ratios([each[0] for each in found["mirrormend"]], [each[0] for each in rows])
        cpu = "" if name == "no proxy" else f"{statistics.median(each[1] for each in rows):5.2f} s CPU"
        speed = statistics.median(each[0] for each in rows)
        print(f"  {name:18} {speed:7.0f} MB/s  {cpu:12}  {'mirrormend is' if ratio else '':13} {ratio}")


if __name__ == "__main__":
    main()
