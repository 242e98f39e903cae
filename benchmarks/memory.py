"""Resident memory after a lock of a world with 80,000 links.

    python benchmarks/memory.py [--kind KIND] [--store STORE] [--links N] [--small] [--wait SECONDS]

The pages of the jupyter world, repeated under other names, are asked for as uv asks: 50 at a time, JSON with zstd; then for each project
the core metadata of three wheels. With `--small` it is made projects of 35 links each instead, which have no metadata.
Tells resident memory before, at its highest, right after, and some seconds later.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp
import growth
import made
import mirrors
import msgspec

from tests.world import World

_SMALL = 35
"""Links of a made project."""

_UV = 'uv/0.9.0 {"installer":{"name":"uv"},"python":"3.12.1","implementation":{"name":"CPython"},"system":{"name":"Linux"},"cpu":"x86_64"}'


def names(links: int) -> list[str]:
    """Gives the names of projects that have so many links together."""
    chosen: list[str] = []
    count = copy = 0
    projects = list(World.load().projects.values())
    while count < links:
        for project in projects:
            if count < links:
                chosen.append(f"{project.name}-copy{copy}" if copy else project.name)
                count += len(project.files)
        copy += 1
    return chosen


async def lock(port: int, projects: list[str], metadata: int = 3) -> tuple[int, int]:
    """Ask for all that a lock asks for, metadata of so many wheels of each project; return how many links and metadata files came."""
    gate = asyncio.Semaphore(50)
    headers = {"Accept": made.UV_ACCEPT, "Accept-Encoding": "zstd", "User-Agent": _UV}
    counts = [0, 0]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers, auto_decompress=True) as session:

        async def one(project: str) -> None:
            async with gate:
                async with session.get(f"/simple/{project}/") as answer:
                    answer.raise_for_status()
                    files = msgspec.json.decode(await answer.read())["files"]
                counts[0] += len(files)
                wheels = [file["filename"] for file in files if file["filename"].endswith(".whl")]
                for name in wheels[-metadata:] if metadata else ():
                    async with session.get(f"/files/{project}/{name}.metadata") as answer:
                        await answer.read()
                        counts[1] += answer.status == 200

        await asyncio.gather(*map(one, projects))
    return counts[0], counts[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="artifactory")
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--links", type=int, default=80_000)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--wait", type=float, default=45.0)
    words = parser.parse_args()
    if words.small:
        projects = [f"project-{number}" for number in range(words.links // _SMALL)]
        tree, rules, each = growth.small_projects(len(projects), _SMALL), made.FILES, 0
    else:
        projects = names(words.links)
        tree, rules, each = mirrors.build(mirrors.BUILD / "tree-memory", copies=3), "", 3
    with tempfile.TemporaryDirectory() as folder, mirrors.nginx(tree, rules=rules) as origin:
        store = f"sqlite:{Path(folder, 'store.sqlite')}" if words.store == "sqlite" else words.store
        environment = {"MIRRORMEND_UPSTREAM_KIND": words.kind}
        with made.proxy(f"http://127.0.0.1:{origin}{mirrors.SIMPLE}", "--store", store, environment=environment) as server:
            started = time.monotonic()

            def tell(when: str) -> None:
                now, most = server.resident()
                print(f"{time.monotonic() - started:6.1f} s  {now:6.0f} MB, at most {most:.0f} MB so far  {when}", flush=True)

            tell("before")
            for what in ("cold", "warm"):
                links, metadata = asyncio.run(lock(server.port, projects, each))
                tell(f"after a {what} lock: {len(projects)} projects, {links} links, {metadata} metadata files")
            for seconds in (5.0, max(0.0, words.wait - 5.0)):
                time.sleep(seconds)
                tell(f"{seconds:g} s later")


if __name__ == "__main__":
    main()
