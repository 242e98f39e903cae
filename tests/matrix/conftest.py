"""What the tests of the matrix share: a mirror of one project, and a project that requires it."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients import Locked, Uv, write_project
from tests.conftest import MakeClient
from tests.matrix.names import JSON, LINUX, MAC, OLD, SDIST
from tests.mirror import BrokenMirror


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A healthy mirror of `demo`: the newest release for two platforms and as sdist, and an older one for all."""
    for name in (OLD, MAC, LINUX, SDIST):
        mirror.add(name)
    return mirror


class Site:
    """The proxy before the mirror, and what clients get there."""

    def __init__(self, client: Any, uv: Uv, folder: Path) -> None:
        self.client = client
        self._uv = uv
        self._folder = folder

    async def page(self, project: str = "demo", **headers: str) -> dict[str, Any]:
        """The page in JSON."""
        async with self.client.get(f"/simple/{project}/", headers={"Accept": JSON, **headers}) as response:
            assert response.status == 200, await response.text()
            found: dict[str, Any] = await response.json(content_type=JSON)
            return found

    async def names(self, project: str = "demo", **headers: str) -> list[str]:
        """The names of the files on the page."""
        return [file["filename"] for file in (await self.page(project, **headers))["files"]]

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers with lower-case names, and body."""
        async with self.client.get(path, headers=headers) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()

    async def problem(self, path: str, **headers: str) -> dict[str, Any]:
        """The problem that is told, which is never a 404."""
        async with self.client.get(path, headers=headers) as response:
            assert response.content_type == "application/problem+json"
            assert response.status != 404
            told: dict[str, Any] = await response.json(content_type=None)
        assert told["status"] == response.status
        assert told["title"]
        assert told["upstream"]
        return told

    async def lock(self, *requires: str, index: str | None = None, exclude_newer: str | None = None) -> Locked:
        """What real uv locks, through the proxy or straight from another index, of files uploaded before a time or of all."""
        self._uv.fresh_cache()
        project = write_project(self._folder / f"project-{len(list(self._folder.iterdir()))}", list(requires or ("demo",)))
        options = () if exclude_newer is None else ("--exclude-newer", exclude_newer)
        return await self._uv.lock(project, index or str(self.client.make_url("/simple/")), *options)


@pytest.fixture
def site(app_client: MakeClient, uv: Uv, tmp_path: Path) -> Any:
    """Gives `make(**sections)`: the proxy with these settings."""

    async def make(**sections: Any) -> Site:
        return Site(await app_client(**sections), uv, tmp_path)

    return make
