"""Where the mirror has what the proxy serves."""

from typing import Any

import pytest

from tests.conftest import MakeClient
from tests.faults import artifactory_404, status
from tests.mirror import BrokenMirror

WHEEL, DEAD, LOCAL = "demo-1.0-py3-none-any.whl", "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl", "demo-1.0+cu1-py3-none-any.whl"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror with a wheel that is there, one that is not, and one elsewhere."""
    mirror.add(WHEEL)
    mirror.add(DEAD, None)
    mirror.add(LOCAL, url=f"http://me:geheim@127.0.0.1:9/d/demo-1.0%2Bcu1-py3-none-any.whl?token=geheim#sha256={'0' * 64}")
    return mirror


async def told(client: Any, path: str, **headers: str) -> Any:
    async with client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert response.headers["Vary"] == "Authorization"
        return await response.json()


async def test_it_tells_the_address_of_the_mirror(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"url": stocked.url.replace("://", "://me:geheim@")})
    assert await told(client, "/files/") == {"upstream": stocked.url}
    assert await told(client, "/default/files/") == {"upstream": stocked.url}
    assert stocked.asked == []


async def test_it_tells_the_address_of_each_listed_file_dropped_or_not_without_secrets(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    async with client.get("/simple/demo/") as page:
        assert DEAD not in await page.text()
    assert await told(client, "/files/demo/") == {
        "upstream": stocked.url,
        "project": "demo",
        "files": {
            WHEEL: stocked.file_url(WHEEL),
            DEAD: stocked.file_url(DEAD),
            LOCAL: "http://127.0.0.1:9/d/demo-1.0%2Bcu1-py3-none-any.whl",
        },
    }


async def test_the_question_costs_the_mirror_one_page_and_no_probe(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await told(client, "/files/Demo/")
    assert [each.kind for each in stocked.asked] == ["page"]


async def test_who_may_not_see_the_page_is_not_told(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.credentials = ("reader", "s3cret")
    client = await app_client()
    async with client.get("/files/demo/") as response:
        assert response.status == 401
    assert (await told(client, "/files/demo/", Authorization="Basic cmVhZGVyOnMzY3JldA=="))["project"] == "demo"


async def test_for_a_project_that_the_mirror_has_not_it_is_404(stocked: BrokenMirror, app_client: MakeClient) -> None:
    async with (await app_client()).get("/files/unknown/") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_credentials_in_a_link_of_the_mirror_are_told_to_nobody(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(WHEEL)
    mirror.add(WHEEL, url=mirror.file_url(WHEEL).replace("://", "://me:geheim@") + "?signature=geheim")
    mirror.fault(WHEEL, artifactory_404())
    client = await app_client()
    for path in (f"/files/demo/{WHEEL}", f"/files/demo/{WHEEL}.metadata", f"/explain/demo/{WHEEL}"):
        async with client.get(path) as response:
            assert "geheim" not in await response.text(), path
    mirror.heal()
    mirror.fault(WHEEL, status(401))
    async with client.get(f"/files/demo/{WHEEL}") as response:
        assert response.status == 401
        assert "geheim" not in await response.text()
