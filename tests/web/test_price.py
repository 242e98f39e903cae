"""The price is the truth: every request for a file that the mirror gets is counted, once, for the reason that it has."""

import asyncio
import random
from typing import Any

import pytest

from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.core.verdict.reason import Reason
from proxy.server.context import GENERATIONS
from proxy.server.counting import COUNTS
from proxy.telemetry.price import Price
from tests.conftest import MakeClient
from tests.edge.dialling import mirror_at
from tests.faults import artifactory_404, ignores_range, lies_on_head, quota, redirects, reset, status
from tests.mirror import BrokenMirror
from tests.numbers import numbers
from tests.waiting import until
from tests.wheels import make_wheel

NAMING = "naming-1.0-py3-none-any.whl"
PURE = "demo-1.0-py3-none-any.whl"
MAC = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"


def price_of(client: Any) -> Price:
    price: Price = client.app[COUNTS].of_mirror("default").price
    return price


def file_requests(mirror: BrokenMirror) -> int:
    return mirror.count(kind="file") + mirror.count(kind="metadata")


def counted(price: Price) -> int:
    return sum(price.requests.values()) + price.relayed


def files_of(price: Price) -> dict[Reason, int]:
    return {cost.reason: cost.files for cost in price.costs}


async def quiet(client: Any) -> None:
    """Waits until the proxy does nothing that nobody waits for."""
    indexes = client.app[GENERATIONS].current.indexes.values()
    await until(lambda: all(index.tasks.count == 0 for index in indexes), within=60.0)


async def test_a_page_costs_what_it_waits_for_the_proof_of_denials_and_the_rest(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(PURE)
    mirror.add(MAC)
    # More files than a page waits for as a whole, and metadata named the project.
    for minor in range(70):
        mirror.add(f"demo-0.{minor}-py3-none-any.whl")
    mirror.add(NAMING, make_wheel(NAMING, requires_dist=["demo"]))
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    async with client.get(f"/files/naming/{NAMING}.metadata") as response:
        assert response.status == 200
    await quiet(client)
    read = price_of(client).requests[Reason.DEMAND]
    assert read > 0, "the metadata that the client asked for"
    assert (await client.get("/simple/demo/")).status == 200
    await quiet(client)
    price = price_of(client)
    assert files_of(price)[Reason.AWAITED] == 3, "the files of the newest releases"
    assert files_of(price)[Reason.BACKGROUND] == 70, "the older ones"
    assert (files_of(price)[Reason.PROOF], price.requests[Reason.PROOF] > 0) == (1, True)
    assert price.requests[Reason.WITNESS] > 0, "files known to be good are among the repetitions"
    assert (price.requests[Reason.CONSTRAINT], price.requests[Reason.DEMAND], price.relayed) == (0, read, 0)
    assert price.touched == 73
    assert counted(price) == file_requests(mirror)


async def test_what_a_client_asks_for_itself_is_no_part_of_the_price(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(PURE)
    client = await app_client(probe={"budget": 0})
    assert (await client.get(f"/files/demo/{PURE}")).status == 200
    assert (await client.head(f"/files/demo/{PURE}")).status == 200
    await quiet(client)
    price = price_of(client)
    assert price.relayed == 2
    assert counted(price) == file_requests(mirror)


async def test_metadata_that_a_client_asks_for_is_demand(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(PURE)
    mirror.add("demo-0.9-py3-none-any.whl", core_metadata="hash")
    client = await app_client(probe={"budget": 0})
    assert (await client.get("/files/demo/demo-0.9-py3-none-any.whl.metadata")).status == 200
    await quiet(client)
    price = price_of(client)
    assert files_of(price)[Reason.DEMAND] == 1
    assert price.requests[Reason.DEMAND] == mirror.count(kind="metadata") > 0
    assert counted(price) == file_requests(mirror)


_FAULTS = {
    "nothing": None,
    "dead": artifactory_404(),
    "head lies": lies_on_head(404),
    "no ranges": ignores_range(),
    "resets": reset(),
    "errors": status(503),
    "redirects": None,
    "quota": quota(20),
    "credentials": artifactory_404(),
}


@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("seed", range(2))
async def test_reasons_add_up_to_what_the_mirror_saw(mirror: BrokenMirror, app_client: MakeClient, fault: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - it draws, it guards nothing
    names = [
        f"{project}-{version}.0-{tag}.whl"
        for project in ("amber", "birch", "cedar")
        for version in range(1, 6)
        for tag in ("py3-none-any", "cp312-cp312-macosx_11_0_arm64", "cp312-cp312-manylinux_2_28_x86_64")
    ]
    for name in names:
        mirror.add(name, core_metadata=chance.choice((False, "hash")))
    chosen = _FAULTS[fault]
    if fault == "redirects":
        mirror.fault("*macosx*", redirects(mirror.file_url(names[0])))
    elif chosen is not None:
        mirror.fault(lambda name: "macosx" in name, chosen, times=chance.choice((None, 10)))
    upstream: dict[str, Any] = {"retries": 1}
    if fault == "credentials":
        # Then the first request goes alone, before all others.
        mirror.credentials = ("reader", "password")
        upstream |= {"username": "reader", "password": "password"}
    client = await app_client(upstream=upstream, verdict={"confirm": 0})

    async def ask(path: str, method: str = "GET") -> None:
        async with client.request(method, path) as response:
            await response.read()

    for _ in range(12):
        name = chance.choice(names)
        project = name.partition("-")[0]
        method, path = chance.choice(
            (
                ("GET", f"/simple/{project}/"),
                ("GET", f"/files/{project}/{name}.metadata"),
                ("GET", f"/files/{project}/{name}"),
                ("HEAD", f"/files/{project}/{name}"),
            )
        )
        await asyncio.gather(*(ask(path, method) for _ in range(chance.choice((1, 1, 3)))), return_exceptions=True)
    await quiet(client)
    price = price_of(client)
    assert counted(price) == file_requests(mirror)
    touched = {each.name.removeprefix("metadata:") for each in mirror.asked if each.kind in {"file", "metadata"}}
    assert price.touched <= len(touched), "what clients alone asked for is not among them"


async def test_the_price_is_told_by_the_metrics_and_by_the_status_page(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(PURE)
    mirror.add(MAC)
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    before = await numbers(client)
    assert all(before.of("mirrormend_price_requests_total", reason=reason.value) == 0 for reason in Reason)
    await client.get("/simple/demo/")
    await client.get(f"/files/demo/{PURE}")
    await quiet(client)
    price, found = price_of(client), await numbers(client)
    for cost in price.costs:
        assert found.of("mirrormend_price_requests_total", upstream="default", reason=cost.reason.value) == cost.requests
        assert found.of("mirrormend_price_files", upstream="default", reason=cost.reason.value) == cost.files
    assert found.of("mirrormend_price_distinct_files", upstream="default") == 2
    assert found.of("mirrormend_relayed_requests_total", upstream="default") == 1
    told = (await (await client.get("/status.json")).json())["mirrors"][0]["price"]
    assert (told["requests"], told["files"], told["relayed"]) == (sum(price.requests.values()), 2, 1)
    assert told["reasons"] == [{"reason": each.reason, "requests": each.requests, "files": each.files} for each in price.costs]
    text = await (await client.get("/", headers={"Accept": "text/html"})).text()
    assert f"{told['requests']} requests for 2 files since the start, besides 1 request that clients made themselves" in text


async def test_each_conversation_has_its_own_reason_also_the_one_that_goes_first_alone(mirror: BrokenMirror) -> None:
    mirror.add(PURE)
    mirror.add(MAC)
    mirror.credentials = ("reader", "password")
    reasons = {PURE: Reason.WITNESS, MAC: Reason.CONSTRAINT}
    flows = ((name, probe(mirror.file_url(name))) for name in reasons)
    async with mirror_at(mirror.url, username="reader", password="password") as asked:
        await asked.converse_all(flows, SHARED, learned=lambda *_: None, reason=reasons.__getitem__)
        price = asked.counts.price
    assert {cost.reason for cost in price.costs if cost.requests} == set(reasons.values())
    assert files_of(price)[Reason.WITNESS] == files_of(price)[Reason.CONSTRAINT] == 1
    assert counted(price) == file_requests(mirror)
