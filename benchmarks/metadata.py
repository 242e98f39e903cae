"""Requests and bytes for the metadata of wheels at a mirror with ranges and without PEP 658.

    python benchmarks/metadata.py [--wheels N]

The wheels have the layout of real ones: METADATA, other small files and RECORD at the end, before the directory. Their sizes are drawn
from a wide distribution, the same at each run. nginx serves them; a page has one wheel, with its size or without. Each page is asked for
and then the wheel's metadata; counted is what nginx logs for the wheel, probes by HEAD included and apart.
"""

import argparse
import hashlib
import io
import json
import random
import re
import statistics
import tempfile
import zipfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import made
import mirrors
from serving import fetch

_LINE = re.compile(r'"(GET|HEAD) \S*/(w\d+)-\S+ HTTP/1.1" (\d+) (\d+)')


def wheel(name: str, draw: random.Random) -> bytes:
    """Return a wheel with a drawn number of files, and METADATA of 2 to 60 KB."""
    files = min(20_000, int(draw.lognormvariate(3.5, 1.4)) + 2)
    metadata = draw.choice((2, 4, 6, 10, 20, 40, 60)) * 1000
    words = [draw.randbytes(4).hex() for _ in range(600)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        record = ""
        for number in range(files):
            place = f"{name}/package{number % 37}/some_module_{number}.py"
            archive.writestr(place, draw.randbytes(min(60_000, int(draw.lognormvariate(7.3, 1.0)))))
            record += f"{place},sha256={draw.randbytes(33).hex()[:43]},{number * 7}\n"
        if draw.random() < 0.25:
            archive.writestr(f"{name}/native.so", draw.randbytes(draw.choice((200, 1000, 4000)) * 1000), compress_type=zipfile.ZIP_STORED)
        info = f"{name}-1.0.dist-info"
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n"
        while len(text) < metadata:
            text += f"{draw.choice(words)} {draw.choice(words)} "
        archive.writestr(f"{info}/METADATA", text)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/licenses/LICENSE", " ".join(draw.choice(words) for _ in range(800)))
        archive.writestr(f"{info}/RECORD", record)
    return out.getvalue()


def write(target: Path, count: int, *, sized: bool) -> list[int]:
    """Write so many wheels and a page for each; return the sizes of the wheels."""
    draw = random.Random(18)
    sizes = []
    place = target / mirrors.PACKAGES.strip("/")
    place.mkdir(parents=True)
    for number in range(count):
        name = f"w{number}"
        content = wheel(name, draw)
        sizes.append(len(content))
        filename = f"{name}-1.0-py3-none-any.whl"
        (place / filename).write_bytes(content)
        entry = {"filename": filename, "url": f"{mirrors.PACKAGES}{filename}", "hashes": {"sha256": hashlib.sha256(content).hexdigest()}}
        folder = target / mirrors.SIMPLE.strip("/") / name
        folder.mkdir(parents=True)
        entry |= {"size": len(content)} if sized else {}
        (folder / "index.json").write_text(json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": [entry]}))
    return sizes


def measure(count: int, *, sized: bool, rules: str) -> str:
    """Return what the metadata of so many wheels costs, in words."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        here = Path(folder)
        here.chmod(0o755)
        sizes = write(here / "tree", count, sized=sized)
        log = here / "access.log"
        origin = stack.enter_context(mirrors.nginx(here / "tree", rules=rules, log=log))
        proxy = stack.enter_context(made.proxy(f"http://127.0.0.1:{origin}{mirrors.SIMPLE}"))
        for number in range(count):
            fetch(proxy.port, f"/simple/w{number}/", {"Accept": made.UV_ACCEPT})
            status, _, _ = fetch(proxy.port, f"/files/w{number}/w{number}-1.0-py3-none-any.whl.metadata", {})
            if status != 200:
                raise SystemExit(f"no metadata of w{number}: {status}")
        asked: dict[str, int] = defaultdict(int)
        total = 0
        for method, _name, _status, size in _LINE.findall(log.read_text()):
            asked[method] += 1
            total += int(size) if method == "GET" else 0
    gets, heads = asked["GET"] / count, asked["HEAD"] / count
    return (
        f"{gets + heads:4.2f} requests a wheel ({gets:4.2f} GET, {heads:4.2f} HEAD), {total / count / 1000:5.0f} KB"
        f"   (wheels of {statistics.median(sizes) / 1000:.0f} KB in the middle, {max(sizes) / 1e6:.0f} MB at most)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=int, default=150)
    count = parser.parse_args().wheels
    no_ranges = f"location {mirrors.PACKAGES} {{ max_ranges 0; }}"
    for told, sized, rules in (
        ("sizes on the pages", True, ""),
        ("no sizes", False, ""),
        ("no sizes, ranges ignored", False, no_ranges),
    ):
        print(f"{told:26} {measure(count, sized=sized, rules=rules)}", flush=True)


if __name__ == "__main__":
    main()
