"""A page that lists one file name several times, as a client gets it: every entry leads to its own bytes."""

import time
from hashlib import sha256
from typing import Any
from urllib.parse import urljoin

import pytest

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.identity import SHARED
from proxy.core.verdict.judge import Cause
from proxy.server.context import GENERATIONS, INDEXES
from tests.conftest import MakeClient
from tests.faults import status
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel, metadata_of

JSON = "application/vnd.pypi.simple.v1+json"
WHEEL = "demo-1.0-py3-none-any.whl"
ONE, OTHER = make_wheel(WHEEL, requires_dist=["one"]), make_wheel(WHEEL, requires_dist=["other"])


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def stock(mirror: BrokenMirror, *entries: tuple[str, bytes | None, bytes], told: bool = True) -> None:
    """List entries: the folder of each, the bytes that it delivers if any, and those that the page tells the digest of."""
    links = ""
    for folder, delivered, listed in entries:
        mirror.add(WHEEL, delivered, project=folder, path=f"{folder}/{WHEEL}")
        links += f'<a href="../../packages/packages/{folder}/{WHEEL}{f"#sha256={digest(listed)}" if told else ""}">{WHEEL}</a>'
    mirror.set_page("demo", f"<html><body>{links}</body></html>".encode())


async def entries(client: Any) -> list[dict[str, Any]]:
    async with client.get("/simple/demo/", headers={"Accept": JSON}) as response:
        assert response.status == 200
        return list((await response.json(content_type=None))["files"])


async def fetched(client: Any, url: str, **headers: str) -> tuple[int, bytes]:
    async with client.get(urljoin("/simple/demo/", url), headers=headers) as response:
        return response.status, await response.read()


@pytest.mark.parametrize("told", [True, False], ids=["with digests", "without"])
async def test_every_entry_leads_to_its_own_bytes_and_its_own_metadata(mirror: BrokenMirror, app_client: MakeClient, told: bool) -> None:
    stock(mirror, ("one", ONE, ONE), ("two", OTHER, OTHER), told=told)
    client = await app_client()
    one, two = await entries(client)
    assert await fetched(client, one["url"]) == (200, ONE)
    assert await fetched(client, two["url"]) == (200, OTHER)
    assert await fetched(client, one["url"], Range="bytes=0-9") == (206, ONE[:10])
    assert await fetched(client, one["url"] + ".metadata") == (200, metadata_of(ONE))
    assert await fetched(client, two["url"] + ".metadata") == (200, metadata_of(OTHER))
    async with client.head(urljoin("/simple/demo/", two["url"])) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(OTHER)))


async def test_the_plain_address_of_an_older_lock_leads_to_the_first(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, ("one", ONE, ONE), ("two", OTHER, OTHER))
    client = await app_client()
    assert await fetched(client, f"/files/demo/{WHEEL}") == (200, ONE)
    assert await fetched(client, f"/files/demo/{WHEEL}.metadata") == (200, metadata_of(ONE))
    assert (await fetched(client, f"/files/demo/ffffffffffff/{WHEEL}"))[0] == 404


@pytest.mark.parametrize("code", [404, 410, 500, 503])
async def test_where_one_address_fails_the_other_with_the_same_digest_is_tried(
    mirror: BrokenMirror, app_client: MakeClient, code: int
) -> None:
    stock(mirror, ("one", ONE, ONE), ("two", ONE, ONE))
    client = await app_client(upstream={"retries": 0})
    one, two = await entries(client)
    mirror.fault(lambda name: name == WHEEL, fails_in("one", code))
    for url in (one["url"], two["url"], f"/files/demo/{WHEEL}"):
        assert await fetched(client, url) == (200, ONE)
    assert [file["url"] for file in await entries(client)] == [one["url"], two["url"]]


def fails_in(folder: str, code: int) -> Any:
    answer = status(code)

    async def fault(target: Any) -> Any:
        return await answer(target) if f"/{folder}/" in target.request.path else None

    return fault


async def test_another_file_of_the_name_is_never_sent_in_the_place_of_a_dead_one(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, ("one", None, ONE), ("two", OTHER, OTHER))
    client = await app_client(probe={"budget": 0})
    one, two = await entries(client)
    assert (await fetched(client, one["url"]))[0] == 502
    assert await fetched(client, two["url"]) == (200, OTHER)


async def test_a_dead_entry_leaves_the_page_and_the_other_one_of_its_name_stays(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, ("one", None, ONE), ("two", OTHER, OTHER))
    (left,) = await entries(await app_client())
    assert left["hashes"] == {"sha256": digest(OTHER)}


async def test_direct_links_lead_to_the_address_of_each(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, ("one", ONE, ONE), ("two", OTHER, OTHER))
    found = await entries(await app_client(links={"mode": "direct"}))
    assert [file["url"].rpartition("/packages/")[2] for file in found] == [f"one/{WHEEL}", f"two/{WHEEL}"]


async def test_where_links_are_direct_a_dead_address_leaves_the_page_though_the_same_bytes_are_elsewhere(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    stock(mirror, ("one", None, ONE), ("two", ONE, ONE), ("three", OTHER, OTHER))
    found = await entries(await app_client(links={"mode": "direct"}))
    assert [file["url"].rpartition("/packages/")[2] for file in found] == [f"two/{WHEEL}", f"three/{WHEEL}"]


async def test_the_metadata_of_a_dead_address_is_that_of_the_same_bytes_elsewhere(mirror: BrokenMirror, app_client: MakeClient) -> None:
    sibling = "demo-1.0-cp38-none-any.whl"
    stock(mirror, ("one", None, ONE), ("two", ONE, ONE))
    mirror.add(sibling, make_wheel(sibling, requires_dist=["sibling"]), project="elsewhere", path=sibling)
    written = mirror.projects["demo"].page("text/html").body.decode()
    mirror.set_page("demo", written.replace("<body>", f'<body><a href="../../packages/packages/{sibling}">x</a>').encode())
    client = await app_client()
    dead = next(file for file in await entries(client) if file["filename"] == WHEEL)
    assert await fetched(client, dead["url"] + ".metadata") == (200, metadata_of(ONE))


async def test_an_entry_is_explained_by_its_own_address(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, ("one", None, ONE), ("two", OTHER, OTHER))
    client = await app_client()
    (left,) = await entries(client)
    end = left["url"].removeprefix("../../files/demo/")
    async with client.get(f"/explain/demo/{end}") as response:
        assert (await response.json(content_type=None))["standing"] == "listed"
    async with client.get(f"/explain/demo/{WHEEL}") as response:
        assert (await response.json(content_type=None))["standing"] == "dropped"


async def test_what_was_learned_of_a_file_is_kept_when_another_one_of_its_name_appears(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    stock(mirror, ("one", ONE, ONE))
    client = await app_client(upstream={"fresh": 0})
    await entries(client)
    stock(mirror, ("one", ONE, ONE), ("two", OTHER, OTHER))
    one, _ = await entries(client)
    index = next(iter(client.app[INDEXES].values()))
    project, file = await index.file("demo", one["url"].removeprefix("../../files/demo/"), SHARED)
    assert file.key in project.verdicts
    assert WHEEL not in project.verdicts


async def test_a_redirect_leads_to_the_address_that_is_not_denied(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, ("one", None, ONE), ("two", ONE, ONE), ("three", OTHER, OTHER))
    client = await app_client(links={"mode": "redirect"})
    one, *_ = await entries(client)
    async with client.get(urljoin("/simple/demo/", one["url"]), allow_redirects=False) as response:
        assert response.status == 307
        assert response.headers["Location"].endswith(f"/two/{WHEEL}")


async def test_a_file_is_not_rescued_while_the_mirror_refuses_its_twin(mirror: BrokenMirror, app_client: MakeClient) -> None:
    refused = False

    async def refusing(target: Any) -> Any:
        return await status(403)(target) if refused and "/two/" in target.request.path else None

    stock(mirror, ("one", None, ONE), ("two", None, ONE))
    mirror.add("good-1.0-py3-none-any.whl")
    mirror.fault("*", refusing)
    async with BrokenMirror() as whole:
        whole.add(WHEEL, ONE)
        client = await app_client(reference={"url": whole.url}, rescue={"enabled": True})
        one, two = (await entries(client))[:2]
        for each in (one, two):
            assert await fetched(client, each["url"]) == (200, ONE)
        refused = True
        app = client.app
        assert app is not None
        project = app[GENERATIONS].current.indexes["default"]._projects.known(SHARED, "demo")
        file = next(each for each in project.known.page.files if "/two/" in each.url)
        project.record(file, Evidence(Asked.GET, 403, time.time()), Cause.BLOCKED)
        whole.forget()
        assert (await fetched(client, one["url"]))[0] == 502
        assert not whole.asked_for(WHEEL)
