"""One cold page of 5,000 links, all probed, end to end, against a C client's time for the 5,000 HEADs alone.

    python benchmarks/cold_page.py [--rounds N]

Fetch, parse, plan, probe, settle, render, compress, serve: what one client waits for. Near with 64 connections, and 20 ms away with 256.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import mirrors

from tests.wheels import make_wheel

COUNT = 5000
_PER_RELEASE = 50


def settings(connections: int) -> dict[str, str]:
    """The variables of a proxy that probes every link of a page before it serves it."""
    return {
        "MIRRORMEND_UPSTREAM_KIND": "static",
        "MIRRORMEND_PROBE_PATIENCE": "14",
        "MIRRORMEND_PROBE_DEADLINE": "14",
        "MIRRORMEND_PROBE_CONCURRENCY": str(connections),
    }


def build(counts: Sequence[int] = (COUNT,)) -> Path:
    """Writes pages of so many links, each named after its count, and their files."""
    tree = mirrors.BUILD / f"cold-page-{'-'.join(map(str, counts))}"
    if (tree / "complete").exists():
        return tree
    (tree / "files").mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(max(counts)):
        tag = f"cp3{number % 5 + 9}-none-manylinux_2_{number % _PER_RELEASE}_x86_64"
        wheel = make_wheel(f"demo{max(counts)}-1.{number // _PER_RELEASE}-{tag}.whl")
        (tree / "files" / f"{number:05}.whl").write_bytes(wheel)
        written.append((f"1.{number // _PER_RELEASE}-{tag}.whl", hashlib.sha256(wheel).hexdigest(), len(wheel)))
    for count in counts:
        name = f"demo{count}"
        files = [
            {"filename": f"{name}-{end}", "url": f"/files/{number:05}.whl", "hashes": {"sha256": digest}, "size": size}
            for number, (end, digest, size) in enumerate(written[:count])
        ]
        folder = tree / mirrors.SIMPLE.strip("/") / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.json").write_text(json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": files}))
    (tree / "complete").touch()
    return tree


def page(mirror: int, connections: int) -> float:
    """Gives the seconds that a client waits for the page of a fresh proxy."""
    upstream = f"http://127.0.0.1:{mirror}{mirrors.SIMPLE}"
    with mirrors.proxy(upstream, "memory", "--log-format", "json", environment=settings(connections)) as port:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").read()
        headers = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "zstd"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/simple/demo{COUNT}/", headers=headers)
        started = time.perf_counter()
        with urllib.request.urlopen(request) as response:
            response.read()
        seconds = time.perf_counter() - started
        if response.headers["Mirrormend-Verified"] != "complete":
            raise SystemExit(f"the page was not verified to the end: {response.headers['Mirrormend-Verified']}")
        return seconds


def heads(port: int, connections: int) -> float:
    """Gives the seconds that the C client needs for the HEADs."""
    program = str(mirrors.compiled("probes.c", "-lssl", "-lcrypto"))
    done = subprocess.run(
        [program, "127.0.0.1", str(port), str(connections), str(COUNT), "head"], capture_output=True, text=True, check=True
    )
    wall, _, good = map(int, done.stdout.split())
    if good != COUNT:
        raise SystemExit(f"the C client got {good} good answers")
    return wall / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        near = stack.enter_context(mirrors.nginx(build()))
        far = stack.enter_context(mirrors.distant(near, 20))
        for name, port, connections in (("near, 64 connections", near, 64), ("20 ms away, 256 connections", far, 256)):
            pairs = [(page(port, connections), heads(port, connections)) for _ in range(rounds)]
            ratio = statistics.median(one / other for one, other in pairs)
            ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
            print(f"{name:28} page {ours * 1000:7.0f} ms   C client's HEADs {theirs * 1000:7.0f} ms   {ratio:5.2f} x")


if __name__ == "__main__":
    main()
