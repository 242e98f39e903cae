"""The status page and `/status.json`: what they tell, to whom, and who may have a project verified again."""

from typing import Any

import pytest
from aiohttp import encode_basic_auth

from tests.conftest import MakeClient
from tests.faults import artifactory_404, status
from tests.mirror import BrokenMirror

MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
OLD = "demo-1.0-py3-none-any.whl"
ALL = [OLD, MAC, LINUX]
TOKEN = "t0ken-of-sixteen-letters"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel which it cannot deliver."""
    for name in ALL:
        mirror.add(name)
    mirror.fault(MAC, artifactory_404())
    return mirror


async def told(client: Any, **headers: str) -> Any:
    async with client.get("/status.json", headers=headers) as response:
        assert response.status == 200
        return await response.json()


async def shown(client: Any, query: str = "", **headers: str) -> str:
    async with client.get(f"/{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text: str = await response.text()
        return text


async def test_before_anything_was_asked_it_says_so(mirror: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    (only,) = (await told(client))["mirrors"]
    assert (only["state"], only["dropped"], only["requests"]) == ("unknown", 0, 0)
    assert "was not asked yet" in await shown(client)


async def test_what_was_dropped_is_told_with_cause_and_times(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await client.get("/simple/demo/")
    found = await told(client)
    (missing,) = found["missing"]
    assert {key: missing[key] for key in ("mirror", "project", "filename", "platform", "cause", "status", "asked")} == {
        "mirror": "default",
        "project": "demo",
        "filename": MAC,
        "platform": "macOS arm64",
        "cause": "absent",
        "status": 404,
        "asked": "GET bytes=0-0",
    }
    assert found["started"] <= missing["since"] <= missing["checked"] <= found["at"]
    assert found["totals"]["dropped"] == 1
    assert sum(minute["dropped"] for minute in found["minutes"]) == 1
    assert sum(minute["probes"] for minute in found["minutes"]) == found["totals"]["probes"] >= len(ALL)
    text = await shown(client)
    assert MAC in text
    assert "The mirror answers" in text


async def test_a_project_is_shown_as_a_grid_of_releases_and_platforms(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    text = await shown(client, "?project=Demo")
    assert '<th scope="col">macOS arm64</th>' in text
    assert "✗  dropped" in text
    assert text.count("delivered</span>") == 2


async def test_a_project_that_there_is_not_and_a_name_that_none_can_have_are_told_on_the_page(
    stocked: BrokenMirror, app_client: MakeClient
) -> None:
    client = await app_client()
    assert "The mirror has no such project" in await shown(client, "?project=nothing")
    assert "No project can have this name" in await shown(client, "?project=%3Cscript%3E")
    assert "there is no mirror called" in await shown(client, "?project=demo&mirror=other")


async def test_what_one_client_saw_with_its_token_is_not_shown(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    await client.get("/simple/demo/", headers={"Authorization": encode_basic_auth("me", "mine")})
    assert (await told(client))["missing"] == []
    assert MAC not in await shown(client)


async def test_secrets_of_the_settings_are_not_shown(mirror: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"username": "us3r", "password": "pa55"}, access={"tokens": [TOKEN]})
    headers = {"Authorization": encode_basic_auth("x", TOKEN)}
    for text in (await shown(client, **headers), str(await told(client, **headers))):
        assert "pa55" not in text
        assert "us3r" not in text
        assert TOKEN not in text
        assert "set, not shown" in text


async def test_the_button_asks_the_mirror_again(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    assert 'action="verify"' in await shown(client, "?project=demo")
    stocked.heal()
    async with client.post("/verify", data={"project": "demo"}, allow_redirects=False) as response:
        assert response.status == 303
        back = response.headers["Location"]
    assert "dropped</span>" not in await shown(client, back.removeprefix("./"))
    assert (await told(client))["missing"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example.com"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "192.0.2.1"},
        {"Host": "rebound.example.com"},
    ],
    ids=["another origin", "another site", "forwarded", "another name"],
)
async def test_nobody_from_elsewhere_has_a_project_verified_again(
    stocked: BrokenMirror, app_client: MakeClient, headers: dict[str, str]
) -> None:
    client = await app_client()
    await client.get("/simple/demo/")
    asked = len(stocked.asked)
    async with client.post("/verify", data={"project": "demo"}, headers=headers) as response:
        assert response.status == 403
        assert response.content_type == "application/problem+json"
    assert len(stocked.asked) == asked
    if "Origin" not in headers:
        assert 'action="verify"' not in await shown(client, "?project=demo", **headers)


URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
FORMS = {
    "too large": (413, URLENCODED, b"project=" + b"a" * 70_000),
    "no name in it": (400, {"Content-Type": "multipart/form-data"}, b"hello"),
    "an encoding that nobody knows": (303, {"Content-Type": "application/x-www-form-urlencoded; charset=odd"}, b"project=demo"),
    "bytes of no encoding": (400, URLENCODED, b"project=\xff"),
    "not compressed as it says": (400, {**URLENCODED, "Content-Encoding": "gzip"}, b"project=demo"),
    "a host that is none": (403, {**URLENCODED, "Host": "a["}, b"project=demo"),
}


@pytest.mark.parametrize(("code", "headers", "form"), FORMS.values(), ids=FORMS)
async def test_a_form_that_cannot_be_read_is_the_senders_fault(
    stocked: BrokenMirror, app_client: MakeClient, code: int, headers: dict[str, str], form: bytes
) -> None:
    client = await app_client()
    async with client.post("/verify", data=form, headers=headers, allow_redirects=False) as response:
        assert response.status == code
        assert code == 303 or response.content_type == "application/problem+json"


async def test_another_method_is_told_which_ones_are_answered(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client()
    for method, path, allowed in (("PUT", "/simple/demo/", "GET, HEAD"), ("GET", "/verify", "POST")):
        async with client.request(method, path) as response:
            assert response.status == 405
            assert response.headers["Allow"] == allowed
            assert allowed in (await response.json())["detail"]


async def test_with_access_control_the_page_and_the_button_are_for_those_who_sign_in(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(access={"tokens": [TOKEN]})
    for path in ("/", "/status.json", "/?project=demo"):
        async with client.get(path) as response:
            assert response.status == 401
    async with client.post("/verify", data={"project": "demo"}) as response:
        assert response.status == 401
    headers = {"Authorization": encode_basic_auth("x", TOKEN), "X-Forwarded-For": "192.0.2.1"}
    async with client.post("/verify", data={"project": "demo"}, headers=headers, allow_redirects=False) as response:
        assert response.status == 303


async def test_a_mirror_that_fails_is_told_with_its_failure(stocked: BrokenMirror, app_client: MakeClient) -> None:
    client = await app_client(upstream={"retries": 0})
    stocked.fault("page:demo", status(503))
    await client.get("/simple/demo/")
    (only,) = (await told(client))["mirrors"]
    assert (only["state"], only["last_failure"]) == ("fails", "it answered 503")
    assert "it answered 503" in await shown(client)
