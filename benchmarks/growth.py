"""How the time for a page grows: with its links, cold with every link probed, and warm; and with the projects that are held already.

    python benchmarks/growth.py [--rounds N] [--only links|projects]

Draws `growth.svg` beside this file, unless only one part is measured.
"""

import argparse
import asyncio
import http.client
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
import cold_page
import made
import mirrors

COUNTS = (10, 30, 100, 300, 1000, 3000, 10_000)
HELD = (1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000)
_IN_FLIGHT = 50
_ALONE = 2.5
"""Seconds after which a page counts as asked for alone."""

_WIDTH, _HEIGHT, _MARGIN = 640, 420, 60
_HEADERS = {"Accept": made.JSON_TYPE, "Accept-Encoding": "zstd"}
_LABELS = {1: "10 s", 0: "1 s", -1: "100 ms", -2: "10 ms", -3: "1 ms", -4: "0.1 ms"}

Times = dict[str, list[float]]


def by_links(rounds: int) -> Times:
    """Return medians of seconds for each of `COUNTS`, cold and warm."""
    tree = cold_page.build(COUNTS)
    times: dict[str, dict[int, list[float]]] = {"cold": {}, "warm": {}}
    with mirrors.nginx(tree) as mirror:
        for _ in range(rounds):
            upstream = f"http://127.0.0.1:{mirror}{mirrors.SIMPLE}"
            with mirrors.proxy(upstream, "memory", "--log-format", "json", environment=cold_page.settings(64)) as port:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                for count in COUNTS:
                    # Pages asked for one after the other would be taken for a resolver's, who does not wait for all of the links.
                    time.sleep(_ALONE)
                    times["cold"].setdefault(count, []).append(_page(connection, count))
                    warm = [_page(connection, count) for _ in range(9)]
                    times["warm"].setdefault(count, []).append(statistics.median(warm))
    return {state: [statistics.median(each[count]) for count in COUNTS] for state, each in times.items()}


def _page(connection: http.client.HTTPConnection, count: int) -> float:
    started = time.perf_counter()
    connection.request("GET", f"/simple/demo{count}/", headers=_HEADERS)
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - started
    if answer.headers["Mirrormend-Verified"] != "complete":
        raise SystemExit(f"the page of {count} links was not verified to the end")
    return seconds


def small_projects(count: int, links: int) -> Path:
    """Write the pages of so many projects with so many links each, unless they are there; return the tree."""
    tree = mirrors.BUILD / f"small-{count}-{links}"
    if not (tree / "complete").exists():
        made.tree(tree, {f"project-{number}": links for number in range(count)})
        (tree / "complete").touch()
    return tree


def by_projects(rounds: int) -> Times:
    """Return medians of seconds for a cold page, `_IN_FLIGHT` at a time, up to each number of `HELD`; and of the processor's time."""
    times: dict[str, dict[int, list[float]]] = {"wall": {}, "processor": {}}
    with mirrors.nginx(small_projects(HELD[-1], 1), rules=made.FILES) as mirror:
        for _ in range(rounds):
            with made.proxy(f"http://127.0.0.1:{mirror}{mirrors.SIMPLE}") as server:
                for first, last in zip((0, *HELD), HELD, strict=False):
                    used = server.cpu()
                    seconds = asyncio.run(ask(server.port, [f"project-{number}" for number in range(first, last)]))
                    times["wall"].setdefault(last, []).append(seconds / (last - first))
                    times["processor"].setdefault(last, []).append((server.cpu() - used) / (last - first))
    return {kind: [statistics.median(each[count]) for count in HELD] for kind, each in times.items()}


async def ask(port: int, projects: Sequence[str]) -> float:
    """Ask for the pages of these projects, `_IN_FLIGHT` at a time; return the seconds that all of them took."""
    gate = asyncio.Semaphore(_IN_FLIGHT)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=_HEADERS, auto_decompress=False) as session:

        async def one(project: str) -> None:
            async with gate, session.get(f"/simple/{project}/") as answer:
                answer.raise_for_status()
                await answer.read()

        started = time.perf_counter()
        await asyncio.gather(*map(one, projects))
        return time.perf_counter() - started


class Panel:
    """One plot with both axes logarithmic; its top is `top` below that of the picture."""

    def __init__(self, top: int, title: str, below: str, *, across: tuple[float, float], up: tuple[int, int]) -> None:
        self._top = top
        self._across, self._up = across, up
        middle, bottom = _WIDTH / 2, top + _HEIGHT
        self.parts = [f'<text x="{middle}" y="{top + 24}" text-anchor="middle" font-size="15">{title}</text>']
        for power in range(up[0], up[1] + 1):
            at = self._y(10.0**power)
            self.parts.append(f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
            self.parts.append(f'<text x="{_MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">{_LABELS[power]}</text>')
        self.parts.append(f'<text x="{middle}" y="{bottom - 14}" text-anchor="middle">{below}</text>')

    def _x(self, count: float) -> float:
        low, high = map(math.log10, self._across)
        return _MARGIN + (math.log10(count) - low) / (high - low) * (_WIDTH - 2 * _MARGIN)

    def _y(self, seconds: float) -> float:
        low, high = self._up
        return self._top + _HEIGHT - _MARGIN - (math.log10(seconds) - low) / (high - low) * (_HEIGHT - 2 * _MARGIN)

    def mark(self, counts: Sequence[int]) -> None:
        """Write these numbers below the plot."""
        at = self._top + _HEIGHT - _MARGIN + 20
        self.parts += [f'<text x="{self._x(count):.1f}" y="{at}" text-anchor="middle">{count:,}</text>' for count in counts]

    def draw(self, counts: Sequence[int], times: Sequence[float], colour: str, name: str) -> None:
        """Draw a line through these times, in seconds."""
        points = [(self._x(count), self._y(seconds)) for count, seconds in zip(counts, times, strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        self.parts.append(f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="end" fill="{colour}">{name}</text>')


def picture(links: Mapping[str, Sequence[float]], projects: Mapping[str, Sequence[float]]) -> str:
    """Return the two plots, one below the other."""
    upper = Panel(0, "Time for one page, by its links", "links on the page", across=(COUNTS[0], COUNTS[-1]), up=(-4, 1))
    upper.mark((10, 100, 1000, 10_000))
    upper.draw(COUNTS, links["cold"], "#b5451b", "cold, every link probed")
    upper.draw(COUNTS, links["warm"], "#1b6cb5", "warm")
    title = f"Time for one cold page, {_IN_FLIGHT} at a time, by the projects that are held"
    lower = Panel(_HEIGHT, title, "projects held in memory", across=(HELD[0], HELD[-1]), up=(-4, -1))
    lower.mark((1000, 2000, 5000, 10_000))
    lower.draw(HELD, projects["wall"], "#b5451b", "cold")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {2 * _HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{2 * _HEIGHT}" fill="white"/>',
        *upper.parts,
        *lower.parts,
    ]
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("links", "projects"))
    words = parser.parse_args()
    links = by_links(words.rounds) if words.only != "projects" else {}
    for count, cold, warm in zip(COUNTS, links.get("cold", ()), links.get("warm", ()), strict=False):
        print(f"{count:6} links   cold {cold * 1000:8.1f} ms   warm {warm * 1000:6.2f} ms")
    projects = by_projects(words.rounds) if words.only != "links" else {}
    for count, wall, processor in zip(HELD, projects.get("wall", ()), projects.get("processor", ()), strict=False):
        print(f"{count:6} projects held   {wall * 1000:6.2f} ms a cold page, {processor * 1000:6.2f} ms of the processor")
    if projects:
        print(f"the last cold pages against the first: {projects['wall'][-1] / projects['wall'][0]:.2f} x")
    if links and projects:
        Path(__file__).with_name("growth.svg").write_text(picture(links, projects))


if __name__ == "__main__":
    main()
