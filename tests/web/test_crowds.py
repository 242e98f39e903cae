"""A file that a mirror denies to a crowd of requests, or by some of its nodes, stays on the page: only what is really absent leaves it."""

import asyncio
from collections import Counter

import pytest

from proxy.core.verdict.proof import DENIALS
from tests.conftest import MakeClient
from tests.faults import Fault, artifactory_404, cold_cache, delivers_only_plain_get, limited, some_nodes, status, typed, wrong_type
from tests.mirror import BrokenMirror
from tests.web.test_pages import names

LINUX = [f"demo-{major}.0-cp3{minor}-cp3{minor}-manylinux_2_28_x86_64.whl" for major in range(1, 13) for minor in range(8, 16)]
MACOS = [f"demo-{major}.0-cp312-cp312-macosx_11_0_arm64.whl" for major in range(1, 13)]
ANSWERS = {"403": status(403), "404": status(404), "429": status(429), "503": status(503), "page": wrong_type()}
SOME = [name for name in LINUX if name.startswith("demo-12.")]


def stock(mirror: BrokenMirror, listed: list[str], **details: object) -> None:
    for name in listed:
        mirror.add(name, **details)  # type: ignore[arg-type]


def is_linux(name: str) -> bool:
    return "manylinux" in name and ":" not in name


@pytest.mark.parametrize(("limit", "answer"), [(18, "403"), (24, "404"), (2, "404"), (5, "page"), (18, "429"), (5, "503")])
async def test_a_limit_on_simultaneous_requests_loses_no_file(
    mirror: BrokenMirror, app_client: MakeClient, limit: int, answer: str
) -> None:
    stock(mirror, LINUX)
    mirror.fault("*", limited(limit, ANSWERS[answer], 0.01))
    client = await app_client(upstream={"fresh": 0}, verdict={"no": 0, "no_young": 0})
    for _ in range(3):
        assert await names(client) == LINUX


@pytest.mark.parametrize("answer", [status(403), status(404)], ids=["403", "404"])
async def test_real_absences_are_told_from_those_of_a_limit_file_by_file(
    mirror: BrokenMirror, app_client: MakeClient, answer: Fault
) -> None:
    stock(mirror, [*LINUX, *MACOS])
    mirror.fault("*macosx*", artifactory_404())
    mirror.fault("*manylinux*", limited(24, answer, 0.01))
    client = await app_client(upstream={"fresh": 0}, verdict={"no_young": 0})
    seen = [await names(client) for _ in range(4)]
    assert all(set(LINUX) <= set(page) for page in seen)
    assert seen[-1] == LINUX


@pytest.mark.parametrize(("nodes", "lacking"), [(2, 1), (3, 1), (3, 2)])
async def test_a_node_that_lacks_all_files_takes_none_off_the_page(
    mirror: BrokenMirror, app_client: MakeClient, nodes: int, lacking: int
) -> None:
    stock(mirror, LINUX)
    mirror.fault("*", some_nodes(nodes, lacking, artifactory_404(), seed=nodes))
    client = await app_client(upstream={"fresh": 0}, verdict={"no": 0, "no_young": 0})
    for _ in range(3):
        assert await names(client) == LINUX


async def test_a_mirror_that_denies_head_and_range_but_delivers_by_an_ordinary_get_loses_no_file(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    stock(mirror, [*LINUX, *MACOS])
    mirror.fault("*macosx*", artifactory_404())
    mirror.fault("*manylinux*", delivers_only_plain_get(artifactory_404()))
    client = await app_client(upstream={"fresh": 0}, verdict={"no_young": 0})
    seen = [await names(client) for _ in range(4)]
    assert all(set(LINUX) <= set(page) for page in seen)
    assert seen[-1] == LINUX


async def test_wheels_that_a_mirror_calls_pages_are_told_by_their_first_bytes(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, [*SOME, *(name.replace("manylinux_2_28_x86_64", "macosx_11_0_arm64") for name in SOME)], size=None)
    mirror.fault("*macosx*", wrong_type())
    mirror.fault("*manylinux*", typed("text/html"))
    client = await app_client()
    assert await names(client) == SOME


async def test_the_price_of_a_mirror_without_macos_wheels_is_three_requests_a_file_once_that_is_known(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    stock(mirror, [*LINUX, *(name.replace("manylinux_2_28_x86_64", "macosx_11_0_arm64") for name in LINUX)])
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    assert await names(client) == LINUX
    asked = Counter(each.name for each in mirror.asked if "macosx" in each.name)
    # HEAD, GET, the repetitions, and the requests for the metadata of the one that a resolver reads first: by Range, whole, and alone.
    assert max(asked.values()) <= 2 + DENIALS + 4
    assert sum(asked.values()) <= 3 * len(asked) + 8 * DENIALS


async def test_the_page_says_how_many_denials_wait_for_their_proof(mirror: BrokenMirror, app_client: MakeClient) -> None:
    stock(mirror, MACOS)
    mirror.fault("*", artifactory_404())
    client = await app_client()
    async with client.get("/simple/demo/") as response:
        assert response.headers["Mirrormend-Unproven"] == str(len(MACOS))


@pytest.mark.parametrize(("at_once", "answer"), [(1, "404"), (3, "403"), (16, "page")])
async def test_a_cache_that_fetches_few_files_at_a_time_loses_none_though_warm_files_are_delivered(
    mirror: BrokenMirror, app_client: MakeClient, at_once: int, answer: str
) -> None:
    stock(mirror, LINUX)
    warm = frozenset(LINUX[::2])
    mirror.fault(is_linux, cold_cache(at_once, ANSWERS[answer], 0.3, lambda path: path.rpartition("/")[2] in warm))
    client = await app_client(upstream={"fresh": 0}, verdict={"no": 0, "no_young": 0})
    for _ in range(3):
        assert await names(client) == LINUX


@pytest.mark.parametrize("answer", [status(403), status(404), status(503), wrong_type()], ids=["403", "404", "503", "page"])
async def test_under_a_limit_on_simultaneous_requests_metadata_stays_the_files_own(
    mirror: BrokenMirror, app_client: MakeClient, answer: Fault
) -> None:
    names_of = LINUX[:7]
    stock(mirror, LINUX)
    mirror.fault("*", limited(4, answer, 0.03))
    client = await app_client()

    async def source(name: str) -> str | None:
        async with client.get(f"/files/demo/{name}.metadata") as response:
            return response.headers.get("Mirrormend-Metadata-From") if response.status == 200 else str(response.status)

    _, *sources = await asyncio.gather(names(client), *map(source, names_of))
    assert sources == [None] * len(names_of)
