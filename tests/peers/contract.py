"""What holds with the mirrors that the tests run: with every one of them, and with those that lose files in one way or another."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
from pypi_simple import PyPISimple

from tests.clients import Completed, ProxyProcess, Uv, clean_environment, run_command, write_project
from tests.listing import JSON_TYPE
from tests.peers.origin import Origin
from tests.peers.releases import HELD, LATE, LOSING, REQUIRED, WHOLE, Releases


@dataclass(frozen=True)
class Peer:
    """A running mirror. `url` is its simple API, and `lose` takes the content of a file away that it goes on listing.

    `environment` are settings that the proxy needs before it.
    """

    url: str
    lose: Callable[[str], None]
    environment: dict[str, str] = field(default_factory=dict)

    def proxied(self, tmp_path: Path) -> ProxyProcess:
        """Gives the proxy before this mirror."""
        return ProxyProcess(self.url, tmp_path, environment=self.environment)


class PeerContract:
    """To be inherited beside a fixture `peer`, the mirror."""

    async def test_what_it_lists_is_locked_as_without_the_proxy_and_installed_by_uv_and_pip(
        self, peer: Peer, uv: Uv, tmp_path: Path
    ) -> None:
        project = write_project(tmp_path / "project", [WHOLE.name])
        direct = await uv.lock(project, peer.url)
        assert direct.ok, direct
        (project / "uv.lock").unlink()
        uv.fresh_cache()
        async with peer.proxied(tmp_path) as proxy:
            mended = await uv.lock(project, proxy.simple)
            assert mended.ok, mended
            assert (mended.packages, set(mended.files)) == (direct.packages, set(direct.files))
            assert set(mended.files) > WHOLE.newest
            await installs(uv, project, proxy, WHOLE)
            installed = await pip_installs(WHOLE.name, proxy.simple, tmp_path)
        assert installed.ok, installed

    async def test_another_reader_finds_on_its_page_through_the_proxy_what_it_finds_there_directly(
        self, peer: Peer, tmp_path: Path
    ) -> None:
        direct = await asyncio.to_thread(read, peer.url, WHOLE)
        assert direct.keys() >= WHOLE.newest
        async with peer.proxied(tmp_path) as proxy:
            assert await asyncio.to_thread(read, proxy.simple, WHOLE) == direct


class LosingPeerContract:
    """To be inherited beside a fixture `peer`, a mirror that goes on listing what it lost and answers 404 for it."""

    async def test_a_file_that_it_lists_and_cannot_deliver_fails_the_direct_lock_and_is_dropped_by_the_proxy(
        self, peer: Peer, uv: Uv, tmp_path: Path
    ) -> None:
        peer.lose(LOSING.mac)
        project = write_project(tmp_path / "project", [LOSING.name])
        direct = await uv.lock(project, peer.url)
        assert not direct.ok
        assert LOSING.mac in direct.stderr
        assert "404 Not Found" in direct.stderr
        uv.fresh_cache()
        async with peer.proxied(tmp_path) as proxy:
            mended = await uv.lock(project, proxy.simple)
            assert mended.ok, mended
            assert LOSING.newest - set(mended.files) == {LOSING.mac}
            await installs(uv, project, proxy, LOSING)
            assert await dropped(proxy, LOSING) == "1; absent=1"


class TruthfulPeerContract:
    """To be inherited beside a fixture `peer`, a mirror that looks at its disk whenever it is asked, and so lists nothing that it lost.

    What is out of date there is a page that was read before.
    """

    async def test_a_file_that_is_deleted_after_its_page_was_read_is_dropped_when_somebody_asks_for_it(
        self, peer: Peer, uv: Uv, tmp_path: Path
    ) -> None:
        project = write_project(tmp_path / "project", [LATE.name])
        async with peer.proxied(tmp_path) as proxy:
            assert await dropped(proxy, LATE) == "0"
            peer.lose(LATE.mac)
            assert not await delivers(f"{proxy.url}/files/{LATE.name}/{LATE.mac}")
            assert await dropped(proxy, LATE) == "1; absent=1"
            mended = await uv.lock(project, proxy.simple)
            assert mended.ok, mended
            assert LATE.newest - set(mended.files) == {LATE.mac}
            await installs(uv, project, proxy, LATE)


class CachingPeerContract:
    """To be inherited beside the fixtures `peer`, a mirror that keeps pages and files of another index, and `origin`, that index."""

    async def test_while_the_index_behind_it_is_down_it_delivers_what_it_kept_and_what_it_cannot_fetch_is_not_dropped(
        self, peer: Peer, origin: Origin, tmp_path: Path
    ) -> None:
        urls = await page_of(peer.url, HELD)
        others = [url for name, url in urls.items() if name != HELD.mac]
        assert all([await delivers(url) for url in others])
        async with peer.proxied(tmp_path) as proxy:
            with origin.down():
                assert all([await delivers(url) for url in others])
                assert not await delivers(urls[HELD.mac])
                assert await dropped(proxy, HELD) == "0"
                assert (await page_of(proxy.simple, HELD)).keys() == HELD.files.keys()


async def installs(uv: Uv, project: Path, proxy: ProxyProcess, releases: Releases) -> None:
    """The project's lock is installed, through the proxy."""
    done = await uv.sync(project, proxy.simple, "--locked")
    assert done.ok, done
    listed = await uv.run("pip", "list", "--format", "freeze", "--python", str(project / ".venv"), cwd=project)
    assert listed.stdout.split() == sorted([f"{REQUIRED}==1.0", f"{releases.name}==2.0"])


async def pip_installs(requirement: str, index: str, tmp_path: Path) -> Completed:
    """Installs with the pip beside these tests into a folder of its own, which takes no new environment."""
    options = ["--isolated", "--disable-pip-version-check", "--no-cache-dir", "--no-input", "--target", str(tmp_path / "installed")]
    command = [sys.executable, "-m", "pip", "install", *options, "--index-url", index, requirement]
    return await run_command(command, clean_environment(tmp_path / "pip-home") | {"PIP_CONFIG_FILE": "/dev/null"}, tmp_path)


async def dropped(proxy: ProxyProcess, releases: Releases) -> str:
    """What the proxy says of the files that it took off the page."""
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.simple}{releases.name}/") as page:
        assert page.status == 200, await page.text()
        return page.headers["Mirrormend-Dropped"]


def read(index: str, releases: Releases) -> dict[str, tuple[object, ...]]:
    """What pypi-simple, a client library, reads of each file on a page."""
    with PyPISimple(index) as client:
        page = client.get_project_page(releases.name)
    return {
        each.filename: (
            each.version,
            each.package_type,
            each.requires_python or None,
            each.digests,
            each.is_yanked,
            each.yanked_reason,
            each.size,
            each.upload_time,
        )
        for each in page.packages
    }


async def page_of(index: str, releases: Releases) -> dict[str, str]:
    """Gives what a page in JSON lists: URLs by filename."""
    url = f"{index}{releases.name}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Accept": JSON_TYPE}) as page:
        assert page.status == 200, await page.text()
        return {file["filename"]: urljoin(url, file["url"]) for file in (await page.json(content_type=None))["files"]}


async def delivers(url: str) -> bool:
    """Whether a file comes."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as file:
            return file.status == 200
    except aiohttp.ClientError:
        return False
