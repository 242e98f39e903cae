"""What an sdist requires counts for the pages that are asked for next, as what a wheel's metadata requires does."""

import gzip
import hashlib
from typing import Any

import pytest

from tests.clock import Clock
from tests.conftest import MakeClient
from tests.mirror import BrokenMirror, artifactory_404
from tests.waiting import at_rest, until
from tests.web.test_constraints import UV, busy
from tests.web.test_known import index_of
from tests.wheels import make_sdist, make_wheel

SDIST = "built-0.9.tar.gz"
BEGINNING = "bytes=0-262143"
VERSIONS = ("0.1", "1.0", "2.0", "3.0", "4.0", "5.0")
PLATFORMS = ("win_amd64", *(f"macosx_{major}_0_{cpu}" for major in range(11, 17) for cpu in ("arm64", "x86_64")))


@pytest.fixture
def base(mirror: BrokenMirror) -> BrokenMirror:
    """A project with more files than a page waits for as a whole, none of macOS delivered."""
    for version in VERSIONS:
        for platform in PLATFORMS:
            mirror.add(f"base-{version}-cp312-cp312-{platform}.whl")
    mirror.add("names-1.0-py3-none-any.whl", make_wheel("names-1.0-py3-none-any.whl", requires_dist=["base"]))
    for name in ("other", "another"):
        mirror.add(f"{name}-1.0-py3-none-any.whl")
    mirror.fault("*macosx*", artifactory_404())
    return mirror


async def named(app_client: MakeClient) -> Any:
    """Return a proxy whose page of the project waits for no more than what requirements allow, since metadata named it."""
    client = await busy(app_client, "names", "built")
    async with client.get("/files/names/names-1.0-py3-none-any.whl.metadata", headers={"User-Agent": UV}) as response:
        assert response.status == 200
    return client


async def dead_on_page(client: Any) -> set[str]:
    """The versions of which the page lists a file that the mirror does not deliver."""
    async with client.get("/simple/base/", headers={"User-Agent": UV, "Accept": "application/vnd.pypi.simple.v1+json"}) as response:
        page = await response.json(content_type=None)
    return {file["filename"].split("-")[1] for file in page["files"] if "macosx" in file["filename"]}


def add_built(mirror: BrokenMirror, content: bytes, *, told: str = "hash") -> None:
    """Add a project with an sdist that nothing reads ahead, since there is a newer release."""
    hashes = {"sha256": hashlib.sha256(content).hexdigest()} if told == "hash" else {}
    mirror.add(SDIST, content, hashes=hashes, size=len(content) if told == "hash" else None)
    mirror.add("built-1.0-py3-none-any.whl")


def reads(mirror: BrokenMirror, filename: str) -> list[str | None]:
    """The ranges of `filename` that the mirror was asked for, those left out that only show whether it is there."""
    return [each.range for each in mirror.asked_for(filename) if each.method == "GET" and each.range != "bytes=0-0"]


async def download(client: Any, filename: str = SDIST) -> bytes:
    """Get an sdist whole, as a resolver does that reads PKG-INFO in it."""
    async with client.get(f"/files/built/{filename}", headers={"User-Agent": UV}) as response:
        assert response.status == 200, await response.text()
        content: bytes = await response.read()
        return content


@pytest.mark.parametrize("told", ["hash", "nothing"])
async def test_an_sdist_shows_what_it_requires_on_its_way_to_a_client(base: BrokenMirror, app_client: MakeClient, told: str) -> None:
    content = make_sdist(SDIST, requires_dist=["base<4"])
    add_built(base, content, told=told)
    client = await named(app_client)
    assert await download(client) == content
    assert not {"3.0", "5.0"} & await dead_on_page(client)
    assert reads(base, SDIST) == [None], "the bytes that passed through were read, and no others"


@pytest.mark.parametrize("told", ["hash", "nothing"])
async def test_a_large_one_is_sent_as_it_is_and_its_beginning_counts(base: BrokenMirror, app_client: MakeClient, told: str) -> None:
    content = make_sdist(SDIST, requires_dist=["base<4"]) + b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(100_000))
    add_built(base, content, told=told)
    client = await named(app_client)
    assert await download(client) == content
    assert not {"3.0", "5.0"} & await dead_on_page(client)


@pytest.mark.parametrize(
    "content",
    [
        make_sdist(SDIST, requires_dist=["base<4"], dynamic=["Requires-Dist"]),
        make_sdist(SDIST, metadata="Metadata-Version: 2.1\nName: built\nVersion: 0.9\nRequires-Dist: base<4\n"),
        make_sdist(SDIST, metadata="Metadata-Version: 2.2\nName: other\nVersion: 0.9\nRequires-Dist: base<4\n"),
        make_sdist(SDIST, requires_dist=["base<4"])[:40] + b"no deflate" * 50,
        gzip.compress(b"\0" * 1_000_000),
    ],
    ids=["dynamic", "old", "of another project", "broken", "no tar"],
)
async def test_one_that_says_nothing_for_certain_is_sent_as_it_is(base: BrokenMirror, app_client: MakeClient, content: bytes) -> None:
    add_built(base, content)
    client = await named(app_client)
    assert await download(client) == content
    assert "3.0" in await dead_on_page(client)


async def test_the_sdist_of_a_newest_release_that_has_no_wheel_is_read_ahead(base: BrokenMirror, app_client: MakeClient) -> None:
    newest = "built-1.0.tar.gz"
    base.add(newest, make_sdist(newest, requires_dist=["base<4"]))
    client = await named(app_client)
    await until(lambda: bool(reads(base, newest)))
    assert not {"3.0", "5.0"} & await dead_on_page(client)
    await download(client, newest)
    assert reads(base, newest) == [BEGINNING, None]


async def test_an_sdist_that_says_nothing_is_not_read_ahead_again(base: BrokenMirror, app_client: MakeClient) -> None:
    newest = "built-1.0.tar.gz"
    base.add(newest, make_sdist(newest, dynamic=["Requires-Dist"]))
    clock = Clock()
    client = await app_client(clock)

    async def page() -> None:
        async with client.get("/simple/built/", headers={"User-Agent": UV}) as response:
            assert response.status == 200

    await page()
    await until(lambda: bool(reads(base, newest)))
    base.add("built-0.5.tar.gz")
    clock.passes(3600)
    await page()
    await page()
    await at_rest(index_of(client).tasks)
    assert reads(base, newest) == [BEGINNING]


async def test_nothing_is_read_ahead_of_sdists_where_each_request_is_a_download(mirror: BrokenMirror, app_client: MakeClient) -> None:
    newest = "built-1.0.tar.gz"
    mirror.add(newest, make_sdist(newest))
    client = await app_client(upstream={"kind": "nexus"}, probe={"budget": 0})
    async with client.get("/simple/built/", headers={"User-Agent": UV}) as response:
        assert response.status == 200
    await at_rest(index_of(client).tasks)
    assert mirror.asked_for(newest) == []
