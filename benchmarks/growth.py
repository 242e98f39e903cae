"""How the time for a page grows with its links: cold with every link probed, and warm. Draws `growth.svg` beside this file.

python benchmarks/growth.py [--rounds N]
"""

import argparse
import http.client
import math
import statistics
import time
from pathlib import Path

import cold_page
import mirrors

COUNTS = (10, 30, 100, 300, 1000, 3000, 10_000)
_WIDTH, _HEIGHT, _MARGIN = 640, 420, 60
_HEADERS = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "zstd"}


def measure(rounds: int) -> dict[str, list[float]]:
    """Gives medians of seconds for each count, cold and warm."""
    tree = cold_page.build(COUNTS)
    times: dict[str, dict[int, list[float]]] = {"cold": {}, "warm": {}}
    with mirrors.nginx(tree) as mirror:
        for _ in range(rounds):
            upstream = f"http://127.0.0.1:{mirror}{mirrors.SIMPLE}"
            with mirrors.proxy(upstream, "memory", "--log-format", "json", environment=cold_page.settings(64)) as port:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                for count in COUNTS:
                    times["cold"].setdefault(count, []).append(_page(connection, count))
                    warm = [_page(connection, count) for _ in range(9)]
                    times["warm"].setdefault(count, []).append(statistics.median(warm))
    return {state: [statistics.median(each[count]) for count in COUNTS] for state, each in times.items()}


def _page(connection: http.client.HTTPConnection, count: int) -> float:
    started = time.perf_counter()
    connection.request("GET", f"/simple/demo{count}/", headers=_HEADERS)
    connection.getresponse().read()
    return time.perf_counter() - started


def draw(times: dict[str, list[float]]) -> str:
    """Gives the plot, both axes logarithmic."""
    low, high = -4.0, 1.0

    def x(count: float) -> float:
        return _MARGIN + (math.log10(count) - 1) / 3 * (_WIDTH - 2 * _MARGIN)

    def y(seconds: float) -> float:
        return _HEIGHT - _MARGIN - (math.log10(seconds) - low) / (high - low) * (_HEIGHT - 2 * _MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_WIDTH / 2}" y="24" text-anchor="middle" font-size="15">Time for one page, by its links</text>',
    ]
    for power in range(int(low), int(high) + 1):
        at = y(10.0**power)
        label = {1: "10 s", 0: "1 s", -1: "100 ms", -2: "10 ms", -3: "1 ms", -4: "0.1 ms"}[power]
        parts.append(f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    parts += [
        f'<text x="{x(count):.1f}" y="{_HEIGHT - _MARGIN + 20}" text-anchor="middle">{count:,}</text>' for count in (10, 100, 1000, 10_000)
    ]
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 14}" text-anchor="middle">links on the page</text>')
    for state, colour, name in (("cold", "#b5451b", "cold, every link probed"), ("warm", "#1b6cb5", "warm")):
        points = list(zip(COUNTS, times[state], strict=True))
        line = " ".join(f"{x(count):.1f},{y(seconds):.1f}" for count, seconds in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(count):.1f}" cy="{y(seconds):.1f}" r="3" fill="{colour}"/>' for count, seconds in points]
        count, seconds = points[-1]
        parts.append(f'<text x="{x(count):.1f}" y="{y(seconds) - 10:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    times = measure(parser.parse_args().rounds)
    for count, cold, warm in zip(COUNTS, times["cold"], times["warm"], strict=True):
        print(f"{count:6} links   cold {cold * 1000:8.1f} ms   warm {warm * 1000:6.2f} ms")
    Path(__file__).with_name("growth.svg").write_text(draw(times))


if __name__ == "__main__":
    main()
