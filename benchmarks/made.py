"""Made pages of any size for benchmarks that need no resolver, and the processes that serve them on loopback.

All files are six bytes, so that nginx answers for them out of its configuration.
"""

import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mirrors

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
UV_ACCEPT = f"{JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
FILES = f'location {mirrors.PACKAGES} {{ return 200 "wheel\\n"; }}'
"""Rules for `mirrors.nginx`: every file is there."""

_PYTHONS = ("cp39-cp39", "cp310-cp310", "cp311-cp311", "cp312-cp312", "cp313-cp313")
_PLATFORMS = (
    "macosx_11_0_arm64",
    "macosx_10_12_x86_64",
    "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "musllinux_1_2_x86_64",
    "win_amd64",
)


def filenames(project: str, links: int) -> list[str]:
    """Gives the names of so many files, thirty wheels and an sdist a release."""
    names: list[str] = []
    version = 0
    while len(names) < links:
        release = f"{project}-{version // 100}.{version // 10 % 10}.{version % 10}"
        names += [f"{release}-{python}-{platform}.whl" for python in _PYTHONS for platform in _PLATFORMS] + [f"{release}.tar.gz"]
        version += 1
    return names[:links]


def tree(target: Path, pages: Mapping[str, int]) -> Path:
    """Writes below `target` the pages of these projects in JSON and HTML, with so many links each."""
    for project, links in pages.items():
        entries, anchors = [], []
        for number, name in enumerate(filenames(project, links)):
            digest = hashlib.sha256(name.encode()).hexdigest()
            link = f"../../packages/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{name}"
            entries.append(
                {
                    "filename": name,
                    "url": link,
                    "hashes": {"sha256": digest},
                    "requires-python": ">=3.9",
                    "size": 6,
                    "upload-time": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}T10:{number % 60:02}:11.{number % 1000000:06}Z",
                    "yanked": False,
                }
            )
            anchors.append(f'<a href="{link}#sha256={digest}" data-requires-python="&gt;=3.9" rel="internal">{name}</a><br/>\n')
        folder = target / mirrors.SIMPLE.strip("/") / project
        folder.mkdir(parents=True, exist_ok=True)
        versions = sorted({name.split("-")[1].removesuffix(".tar.gz") for name in filenames(project, links)})
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": entries}
        (folder / "index.json").write_text(json.dumps(page))
        (folder / "index.html").write_text(f"<!DOCTYPE html>\n<html><body>\n{''.join(anchors)}</body></html>\n")
    listed = {"meta": {"api-version": "1.0"}, "projects": [{"name": project} for project in pages]}
    simple = target / mirrors.SIMPLE.strip("/")
    (simple / "index.json").write_text(json.dumps(listed))
    (simple / "index.html").write_text("".join(f'<a href="{project}/">{project}</a><br/>\n' for project in pages))
    return target


class Server:
    """A process that listens on `port` of loopback."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.port = port

    def cpu(self) -> float:
        """Seconds of CPU that it and its children used so far; 0 where the system does not tell."""
        return sum(_cpu(pid) for pid in (self.process.pid, *_children(self.process.pid)))

    def resident(self) -> tuple[float, float]:
        """Resident memory in MB: now, and at its highest."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[index, return-value]


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], port: int, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Iterator[Server]:
    """Run `command`, which listens on `port`; the benchmark ends with its error output if it does not."""
    with mirrors.listening(command, port, environment=environment, cwd=cwd) as process:
        yield Server(process, port)


@contextmanager
def proxy(upstream: str, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Runs mirrormend before `upstream`, in memory, a JSON line for each request; the mirror may be asked about all files."""
    port = mirrors.free_port()
    environment = {"MIRRORMEND_UPSTREAM_KIND": "static", **(environment or {})}
    command = [sys.executable, "-m", "proxy", "serve", "--upstream", upstream, "--listen", f"127.0.0.1:{port}"]
    with running([*command, "--store", "memory", "--log-format", "json", *options], port, environment, mirrors.ROOT.parent) as server:
        yield server


def ratios(of: list[float], to: list[float], *, inverse: bool = False) -> str:
    """Says the median of the ratios of the rounds, and their range."""
    pairs = [(b / a if inverse else a / b) for a, b in zip(of, to, strict=True)]
    return f"{statistics.median(pairs):7.3f} x   ({min(pairs):.3f} to {max(pairs):.3f})"


def settled(fetch: "object", seconds: float = 20.0) -> None:
    """Waits until `fetch`, called again and again, gives True."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if fetch():  # type: ignore[operator]
            return
        time.sleep(0.1)
    raise SystemExit("the page was not verified in time")
