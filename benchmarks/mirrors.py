"""Stand-in mirrors for the benchmarks: the jupyter world behind nginx on loopback, healthy or with every macOS wheel dead, near or 20 ms away.

The tree is built once per folder: pages in JSON and HTML, and for each release one real wheel that all its wheel files are links to.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DATA = ROOT.parent / "tests" / "data" / "jupyter"
BUILD = Path(os.environ.get("MIRRORMEND_BENCH") or Path(tempfile.gettempdir()) / "mirrormend-bench")
SIMPLE = "/artifactory/api/pypi/pypi/simple/"
_DATE = (2020, 2, 2, 0, 0, 0)


def rows(name: str) -> list[dict]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _wheel(project: str, version: str, metadata: str) -> bytes:
    out = io.BytesIO()
    stem = f"{project.replace('-', '_')}-{version}"
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in (
            (f"{project.replace('-', '_')}.py", ""),
            (f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            (f"{stem}.dist-info/RECORD", ""),
            (f"{stem}.dist-info/METADATA", metadata),
        ):
            archive.writestr(zipfile.ZipInfo(name, _DATE), text)
    return out.getvalue()


def _version_of(filename: str) -> str:
    return filename.split("-")[1] if filename.endswith(".whl") else ""


def build(target: Path = BUILD / "tree", copies: int = 1) -> Path:
    """Writes the tree below `target` unless it is there; `copies` repeats all projects under other names."""
    mark = target / f"complete-{copies}"
    if mark.exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    chosen = {(row["name"], row["version"]): row["metadata"] for row in rows("metadata.jsonl.gz")}
    for row in rows("pages.jsonl.gz"):
        _write_project(target, row, chosen, "")
        for number in range(1, copies):
            _write_project(target, row, {}, f"-copy{number}")
    mark.touch()
    return target


def _write_project(target: Path, row: dict, chosen: dict, suffix: str) -> None:
    name = row["name"] + suffix
    entries, anchors, contents = [], [], {}
    for file in row["files"]:
        filename = file["filename"]
        version = _version_of(filename)
        content, digest = contents.get(version, (b"", ""))
        if not content:
            plain = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
                f"Requires-Python: {file['requires-python']}\n" if file.get("requires-python") else ""
            )
            content = _wheel(name, version, chosen.get((name, version), plain)) if version else b"an sdist\n"
            digest = hashlib.sha256(content).hexdigest()
            contents[version] = content, digest
        path = f"{file['path'].lstrip('/')}".removeprefix("packages/")
        place = target / "artifactory/api/pypi/pypi/packages/packages" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        first = target / "contents" / digest
        if not first.exists():
            first.parent.mkdir(parents=True, exist_ok=True)
            first.write_bytes(content)
        if not suffix or not place.exists():
            os.link(first, place) if not place.exists() else None
        url = f"../../packages/packages/{path}"
        entry = {key: file[key] for key in ("filename", "requires-python", "upload-time", "yanked") if file.get(key) is not None}
        entries.append({**entry, "url": url, "hashes": {"sha256": digest}, "size": len(content)})
        python = f' data-requires-python="{escape(file["requires-python"])}"' if file.get("requires-python") else ""
        anchors.append(f'<a href="{url}#sha256={digest}"{python}>{filename}</a><br/>\n')
    folder = target / SIMPLE.strip("/") / name
    folder.mkdir(parents=True, exist_ok=True)
    page = {"meta": {"api-version": "1.1"}, "name": name, "versions": row["versions"], "files": entries}
    (folder / "index.json").write_text(json.dumps(page))
    (folder / "index.html").write_text("<!DOCTYPE html>\n<html><body>\n" + "".join(anchors) + "</body></html>\n")


_CONFIG = """
worker_processes 1;
pid {here}/nginx.pid;
error_log {here}/error.log;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log {log};
  types {{ text/html html; application/vnd.pypi.simple.v1+json json; }}
  default_type application/octet-stream;
  keepalive_requests 1000000;
  sendfile on; tcp_nodelay on; etag on;
  open_file_cache max=40000 inactive=600s; open_file_cache_valid 600s;
  gzip on; gzip_types application/vnd.pypi.simple.v1+json; gzip_comp_level 1;
  map $http_accept $index_file {{ default index.html; "~simple.v1\\+json" index.json; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    root {tree};
    location {simple} {{ try_files $uri$index_file =404; }}
    {rules}
  }}
}}
"""

DEAD_MACOS = "location ~ macosx { return 404 '{\"errors\":[{\"status\":404,\"message\":\"Could not find resource\"}]}'; }"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


@contextmanager
def nginx(tree: Path, *, rules: str = "", log: Path | None = None) -> Iterator[int]:
    """Runs nginx on a free loopback port over the tree; gives the port."""
    port = free_port()
    here = BUILD / f"nginx-{port}"
    here.mkdir(parents=True, exist_ok=True)
    config = here / "nginx.conf"
    config.write_text(
        _CONFIG.format(here=here, port=port, tree=tree, simple=SIMPLE, rules=rules, log="off" if log is None else str(log))
    )
    found = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([found, "-c", str(config), "-p", str(here)], stderr=subprocess.DEVNULL)
    try:
        _await_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def compiled(source: str) -> Path:
    """Compiles a C program of this folder, unless that was done before."""
    target = BUILD / Path(source).stem
    origin = ROOT / source
    if not target.exists() or target.stat().st_mtime < origin.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", str(target), str(origin)], check=True)
    return target


@contextmanager
def distant(port: int, milliseconds: int) -> Iterator[int]:
    """Runs a relay before `port` that delays what the server says; gives the relay's port."""
    own = free_port()
    process = subprocess.Popen([str(compiled("distance.c")), str(own), str(port), str(milliseconds)])
    try:
        _await_port(own)
        yield own
    finally:
        process.terminate()
        process.wait()


@contextmanager
def proxy(upstream: str, store: str, *options: str, module: str = "proxy") -> Iterator[int]:
    """Runs mirrormend before `upstream`; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", module, "serve", "--upstream", upstream, "--listen", f"127.0.0.1:{port}", "--store", store]
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL, cwd=ROOT.parent)
    try:
        _await_port(port)
        yield port
    finally:
        process.terminate()
        process.wait()
