"""The index behind the peers that fetch from another one: in the form of PyPI, a tree of files behind nginx."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from tests.peers.releases import REQUIRED, everything
from tests.peers.serving import free_port, nginx, running
from tests.wheels import metadata_of

_SERVER = """
root {tree};
location /simple/ {{ index index.json; default_type application/vnd.pypi.simple.v1+json; }}
location /pypi/ {{ default_type application/json; add_header X-PyPI-Last-Serial 7; }}
"""

_PYTHONS = ">=3.9,<4"


def _yanked(project: str, version: str) -> str | bool:
    return 'broken & "withdrawn"' if version == "1.0" and project != REQUIRED else False


class Origin:
    """The index: pages in JSON with core metadata, all files, and what PyPI tells of a project at `/pypi/PROJECT/json`."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._tree = folder / "tree"
        self._command = nginx(folder, self._port, "", _SERVER.format(tree=self._tree))
        self._folder = folder
        self._running = ExitStack()
        for project, files in everything().items():
            self._write(project, files)
        listed = [{"name": project} for project in everything()]
        self._put("simple/index.json", json.dumps({"meta": {"api-version": "1.1"}, "projects": listed}).encode())

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._port}"

    def lose(self, filename: str) -> None:
        """Deletes a wheel and its metadata, if that was not done before, and leaves both on the page."""
        (self._tree / "packages" / filename).unlink(missing_ok=True)
        (self._tree / "packages" / f"{filename}.metadata").unlink(missing_ok=True)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Is away while the block runs."""
        self._running.close()
        yield
        self.start()

    def start(self) -> None:
        """Listens."""
        self._running.enter_context(running(self._command, self._port, self._folder))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _write(self, project: str, files: dict[str, bytes]) -> None:
        entries, releases = [], dict[str, list[dict[str, Any]]]()
        for filename, data in files.items():
            self._put(f"packages/{filename}", data)
            version = filename.removesuffix(".tar.gz").split("-")[1]
            digest = {"sha256": sha256(data).hexdigest()}
            entry = {
                "filename": filename,
                "size": len(data),
                "requires-python": _PYTHONS,
                "yanked": _yanked(project, version),
                "hashes": digest,
            }
            entry |= {"url": f"../../packages/{filename}", "upload-time": "2026-01-02T03:04:05.000000Z"}
            if filename.endswith(".whl"):
                metadata = metadata_of(data)
                self._put(f"packages/{filename}.metadata", metadata)
                entry["core-metadata"] = {"sha256": sha256(metadata).hexdigest()}
            entries.append(entry)
            releases.setdefault(version, []).append(self._as_pypi_tells(filename, data, digest, yanked=_yanked(project, version)))
        page = {"meta": {"api-version": "1.1"}, "name": project, "versions": list(releases), "files": entries}
        self._put(f"simple/{project}/index.json", json.dumps(page).encode())
        told = {
            "info": {"name": project, "version": max(releases)},
            "last_serial": 7,
            "releases": releases,
            "urls": releases[max(releases)],
        }
        self._put(f"pypi/{project}/json", json.dumps(told).encode())

    def _as_pypi_tells(self, filename: str, data: bytes, digests: dict[str, str], *, yanked: str | bool) -> dict[str, Any]:
        return {
            "filename": filename,
            "url": f"{self.url}/packages/{filename}",
            "size": len(data),
            "digests": digests,
            "requires_python": _PYTHONS,
            "yanked": bool(yanked),
            "yanked_reason": yanked or None,
            "upload_time": "2026-01-02T03:04:05",
            "upload_time_iso_8601": "2026-01-02T03:04:05.000000Z",
            "packagetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        }

    def _put(self, path: str, data: bytes) -> None:
        place = self._tree / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
