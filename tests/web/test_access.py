"""Access control: who is not let in gets nothing, who is let in leaves no credentials anywhere, and each client has its share."""

import asyncio
import base64
import errno
import io
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from aiohttp import web

from proxy.config import AccessSection, Settings, SettingsError
from proxy.index import Index
from proxy.server import stalled
from proxy.server.access import admission, turns
from proxy.server.access.accounts import Accounts
from proxy.server.access.admission import OPEN
from proxy.server.access.file_watch import Marks
from proxy.server.reload import reload
from proxy.server.response_memo import ResponseMemo
from tests.clock import Clock
from tests.conftest import Client, MakeClient
from tests.faults import Target, artifactory_404, hang
from tests.listing import content_by_name
from tests.mirror import BrokenMirror
from tests.waiting import eventually, until
from tests.web.test_request_id import lines, logging_to_text
from tests.web.test_warm import JSON, WHEEL, Connection, Running, request, running, warmed

TOKEN = "0123456789abcdef-token"
PASSWORD = "lovelace-of-the-proxy"
ADA = f"ada:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n"
MAC = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


ALLOWED = [f"Bearer {TOKEN}", basic("__token__", TOKEN), basic(TOKEN, ""), basic("ada", PASSWORD)]
REFUSED = [None, "Bearer other", basic("ada", "wrong"), basic("bob", PASSWORD), "Negotiate x", "nonsense"]


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    mirror.add(WHEEL, core_metadata=True)
    mirror.add(MAC)
    return mirror


@pytest.fixture
def access(tmp_path: Path) -> dict[str, Any]:
    """The settings by which all of ALLOWED are let in."""
    (tmp_path / "htpasswd").write_text(ADA, encoding="utf-8")
    return {"tokens": [TOKEN], "htpasswd": tmp_path / "htpasswd"}


@pytest.fixture
def log() -> io.StringIO:
    return logging_to_text("json")


def app_of(client: Client) -> web.Application:
    assert client.app is not None
    return client.app


def signed(authorization: str | None) -> dict[str, str]:
    return {} if authorization is None else {"Authorization": authorization}


async def test_nothing_but_health_is_answered_without_credentials(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any]
) -> None:
    client = await app_client(access=access)
    made_up = {"upstream": "default", "project": "demo", "filename": WHEEL, "mark": "0123456789ab"}
    paths = {str(each.url_for(**{key: made_up[key] for key in _keys(each)})) for each in app_of(client).router.resources()}
    assert {"/simple/demo/", f"/default/files/demo/{WHEEL}", "/metrics", "/healthz"} <= paths
    for path in [*paths - OPEN, "/no/such/address", "/nobody/simple/demo/", f"/files/demo/{WHEEL}.metadata"]:
        for method in ("GET", "HEAD", "POST"):
            async with client.request(method, path, allow_redirects=False) as response:
                assert response.status == 401, path
                assert response.headers["WWW-Authenticate"] == 'Basic realm="mirrormend", charset="UTF-8"'
                assert response.headers["Cache-Control"] == "no-store"
                assert not [name for name in response.headers if name.lower().startswith("mirrormend")]
                assert stocked.url not in await response.text()
    assert stocked.asked == []
    for path in paths & OPEN:
        async with client.get(path) as response:
            assert response.status == 200
            assert stocked.url not in await response.text()


def _keys(resource: web.Resource) -> list[str]:
    return [part[1:-1] for part in str(resource.canonical).split("/") if part.startswith("{")]


@pytest.mark.parametrize("authorization", ALLOWED)
async def test_who_is_known_gets_pages_files_and_metadata(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], authorization: str
) -> None:
    client = await app_client(access=access)
    for path in ("/simple/demo/", f"/files/demo/{WHEEL}", f"/files/demo/{WHEEL}.metadata", "/simple/", "/metrics"):
        async with client.get(path, headers=signed(authorization)) as response:
            assert response.status == 200, path


@pytest.mark.parametrize("authorization", REFUSED)
async def test_who_is_not_known_is_told_how_to_sign_in(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], authorization: str | None
) -> None:
    client = await app_client(access=access)
    async with client.get("/simple/demo/", headers=signed(authorization)) as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["status"], problem["title"]) == (401, 401, "The proxy wants credentials")
    assert "UV_INDEX_" in problem["detail"]
    assert stocked.asked == []


@pytest.mark.parametrize("configured", [True, False], ids=["with credentials of the settings", "without any"])
async def test_what_a_client_signs_in_with_never_reaches_a_mirror(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], configured: bool
) -> None:
    ours = {"username": "reader", "password": "of-the-mirror"} if configured else {}
    if configured:
        stocked.credentials = ("reader", "of-the-mirror")
    client = await app_client(access=access, upstream=ours)
    for authorization in ALLOWED:
        for path in ("/simple/demo/", f"/files/demo/{WHEEL}", f"/files/demo/{WHEEL}.metadata", f"/files/demo/{MAC}", "/simple/"):
            for method, more in (("GET", {}), ("GET", {"Range": "bytes=0-9"}), ("HEAD", {})):
                async with client.request(method, path, headers=signed(authorization) | more) as response:
                    assert response.status in {200, 206}, (method, path)
    assert {each.authorization for each in stocked.asked} == {basic("reader", "of-the-mirror") if configured else None}
    assert {each.kind for each in stocked.asked} >= {"page", "file", "list"}


async def test_all_who_are_let_in_share_what_was_learned(stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any]) -> None:
    stocked.fault(MAC, artifactory_404())
    client = await app_client(access=access)
    for authorization in ALLOWED:
        async with client.get("/simple/demo/", headers=signed(authorization) | {"Accept": JSON}) as response:
            assert response.headers["Mirrormend-Dropped"] == "1; absent=1"
    assert stocked.count(kind="page") == 1


async def test_no_cache_between_may_keep_what_was_given_to_who_signed_in(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any]
) -> None:
    async def cacheable(target: Target) -> web.StreamResponse:
        return web.Response(body=target.data, headers={"Cache-Control": "public, max-age=31536000, s-maxage=5, immutable"})

    stocked.fault(WHEEL, cacheable, methods=("GET",))
    closed, free = await app_client(access=access), await app_client()
    given = {}
    for path in ("/simple/demo/", f"/files/demo/{WHEEL}", f"/files/demo/{WHEEL}.metadata", "/healthz", "/no/such/address"):
        for client in (closed, free):
            async with client.get(path, headers=signed(ALLOWED[0]) if client is closed else {}) as response:
                given[path, client is closed] = response.headers.get("Cache-Control")
    assert given["/simple/demo/", True] == "private, no-cache"
    assert given[f"/files/demo/{WHEEL}.metadata", True] == "private, max-age=86400, immutable"
    assert given[f"/files/demo/{WHEEL}", True] == "private, max-age=86400, immutable"
    assert given["/simple/demo/", False] == "no-cache"
    assert given[f"/files/demo/{WHEEL}", False] == "max-age=86400, immutable"
    assert given["/healthz", True] is None
    assert given["/no/such/address", True] == "no-store"


async def test_no_secret_is_logged_nor_told(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], log: io.StringIO
) -> None:
    client = await app_client(access=access)
    seen = ""
    for authorization in [*ALLOWED, *REFUSED]:
        async with client.get("/simple/demo/", headers=signed(authorization)) as response:
            seen += str(response.headers) + await response.text()
    for path in ("/", "/status.json", "/metrics", f"/explain/demo/{WHEEL}"):
        async with client.get(path, headers=signed(ALLOWED[0])) as response:
            assert response.status == 200, path
            seen += await response.text()
    written = log.getvalue() + seen
    encoded = [each.split()[1] for each in ALLOWED]
    assert not [secret for secret in (TOKEN, PASSWORD, ADA.strip(), *encoded) if secret in written]
    assert {line["outcome"] for line in lines(log, "request") if line["status"] == 401} == {"access-denied"}


def looks_at_files(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that tells how often the proxy has looked at its files of accounts since."""
    looks, marks_of = 0, admission.marks_of

    def counted(section: AccessSection) -> Marks:
        nonlocal looks
        looks += 1
        return marks_of(section)

    monkeypatch.setattr(admission, "marks_of", counted)
    return lambda: looks


async def test_who_is_struck_off_the_file_is_out_soon_and_a_broken_file_changes_nothing(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(admission, "AT_REST", 0.05)
    client = await app_client(access=access)

    async def status_of(user: str) -> int:
        async with client.get("/simple/demo/", headers=signed(basic(user, PASSWORD))) as response:
            return response.status

    assert (await status_of("ada"), await status_of("bob")) == (200, 401)
    looks = looks_at_files(monkeypatch)
    access["htpasswd"].write_text("ada:lovelace\n", encoding="utf-8")
    await until(lambda: bool(lines(log, "access-unchanged")))
    # It is looked at again, and stays as it is.
    seen = looks()
    await until(lambda: looks() >= seen + 3)
    assert (await status_of("ada"), await status_of("bob")) == (200, 401)
    access["htpasswd"].write_text(ADA.replace("ada", "bob"), encoding="utf-8")
    await until(lambda: bool(lines(log, "access-changed")))
    assert (await status_of("ada"), await status_of("bob")) == (401, 200)
    assert len(lines(log, "access-unchanged")) == 1, "it is said once"
    assert "lovelace" not in log.getvalue()


async def test_what_is_written_of_a_token_counts_only_when_nobody_writes_any_more(
    stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LOOK_AGAIN", 0.05)
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    client = await app_client(access={"tokens_file": file})

    async def status_of(token: str) -> int:
        async with client.get("/simple/demo/", headers=signed(f"Bearer {token}")) as response:
            return response.status

    async def seen() -> bool:
        return app_of(client)[admission.ADMISSION]._watch._looks > 0

    async def let_in() -> bool:
        return await status_of("another-token-of-length") == 200

    # The next look comes in an hour.
    monkeypatch.setattr(admission, "AT_REST", 3600.0)
    with file.open("a", encoding="utf-8") as more:
        more.write("another-token-of-length"[:18])
        more.flush()
        await eventually(seen)
        assert [await status_of(TOKEN), await status_of("another-token-of-length"[:18])] == [200, 401]
    monkeypatch.setattr(admission, "AT_REST", 0.05)
    # Another file in its place, without a line break at its end, as secrets are mounted.
    (tmp_path / "new").write_text("another-token-of-length", encoding="utf-8")
    client = await app_client(access={"tokens_file": file})
    (tmp_path / "new").rename(file)
    await eventually(let_in)
    assert [await status_of(TOKEN), await status_of("another-token-of-length"[:18])] == [401, 401]


async def test_half_a_token_that_is_written_between_the_look_and_the_reading_does_not_count(
    stocked: BrokenMirror, app_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(admission, "AT_REST", 0.05)
    file, added = tmp_path / "tokens", "another-token-of-length"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    client = await app_client(access={"tokens_file": file})
    read, tokens, interrupted = admission.read_accounts_as_of, [], False

    def append(text: str) -> None:
        with file.open("a", encoding="utf-8") as more:
            more.write(text)

    def overtaken(*arguments: Any) -> Any:
        nonlocal interrupted
        if interrupted:
            return read(*arguments)
        interrupted = True
        append(added[:18])
        try:
            return read(*arguments)
        finally:
            append(f"{added[18:]}\n")

    keeper = app_of(client)[admission.ADMISSION]._doorkeeper
    change = keeper.change
    monkeypatch.setattr(admission, "read_accounts_as_of", overtaken)
    monkeypatch.setattr(keeper, "change", lambda accounts: (tokens.append(accounts.tokens), change(accounts)))
    append("# and\n")

    async def let_in() -> bool:
        async with client.get("/simple/demo/", headers=signed(f"Bearer {added}")) as response:
            return response.status == 200

    await eventually(let_in)
    assert tokens == [(TOKEN, added)]


async def test_a_file_that_cannot_be_read_just_then_is_read_as_soon_as_it_can(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(admission, "AT_REST", 0.05)
    client = await app_client(access=access)
    read, failures = admission.read_accounts_as_of, iter([True] * 3)

    def fails_at_first(*arguments: Any, **options: Any) -> Any:
        if next(failures, False):
            raise SettingsError("[access] htpasswd", "it cannot be read") from OSError(errno.EMFILE, "Too many open files")
        return read(*arguments, **options)

    monkeypatch.setattr(admission, "read_accounts_as_of", fails_at_first)
    access["htpasswd"].write_text(ADA.replace("ada", "bob"), encoding="utf-8")

    async def let_in() -> bool:
        async with client.get("/simple/demo/", headers=signed(basic("bob", PASSWORD))) as response:
            return response.status == 200

    await eventually(let_in)
    assert next(failures, None) is None
    assert len(lines(log, "access-unchanged")) == 1, "it is said once"


async def test_what_is_open_tells_nothing_of_the_mirrors_address(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any]
) -> None:
    client = await app_client(access=access)
    for method, path in (("GET", "/healthz"), ("GET", "/readyz?strict"), ("GET", "/livez"), ("POST", "/healthz"), ("GET", "/nothing")):
        async with client.request(method, path) as response:
            assert stocked.url not in await response.text()


async def test_the_last_one_is_struck_off_as_others_are(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LOOK_AGAIN", 0.05)
    monkeypatch.setattr(admission, "AT_REST", 0.05)
    client = await app_client(access={"htpasswd": access["htpasswd"]})

    async def soon(code: int) -> None:
        async def answered() -> bool:
            async with client.get("/simple/demo/", headers=signed(basic("ada", PASSWORD))) as response:
                return response.status == code

        await eventually(answered)

    await soon(200)
    access["htpasswd"].write_text("", encoding="utf-8")
    await soon(401)
    assert lines(log, "access-closed")
    access["htpasswd"].write_text(ADA, encoding="utf-8")
    await soon(200)


async def test_what_is_written_right_after_a_reload_is_seen(
    stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "_LOOK_AGAIN", 0.2)
    client = await app_client(access=access)
    settings = {"upstream": {"url": stocked.url}, "store": {"location": "memory"}, "log": {"format": "json"}}
    await reload(app_of(client), lambda: Settings.model_validate(settings | {"access": access | {"requests_at_once": 9}}))
    access["htpasswd"].write_text(ADA.replace("ada", "bob"), encoding="utf-8")
    await until(lambda: bool(lines(log, "access-changed")))
    async with client.get("/simple/demo/", headers=signed(basic("bob", PASSWORD))) as response:
        assert response.status == 200


async def test_a_reload_lets_others_in_and_closes_what_was_open(stocked: BrokenMirror, app_client: MakeClient) -> None:
    def load(**sections: Any) -> Settings:
        return Settings.model_validate({"upstream": {"url": stocked.url}, "store": {"location": "memory"}, **sections})

    client = await app_client()

    async def status_of(authorization: str | None) -> int:
        async with client.get("/simple/demo/", headers=signed(authorization)) as response:
            return response.status

    assert await status_of(None) == 200
    await reload(app_of(client), lambda: load(access={"tokens": [TOKEN]}))
    assert [await status_of(None), await status_of(f"Bearer {TOKEN}")] == [401, 200]
    await reload(app_of(client), lambda: load(access={"tokens": [f"{TOKEN}2"], "requests_at_once": 5}))
    assert [await status_of(f"Bearer {TOKEN}"), await status_of(f"Bearer {TOKEN}2")] == [401, 200]
    await reload(app_of(client), lambda: load(access={"htpasswd": "/no/such/file"}))
    assert [await status_of(None), await status_of(f"Bearer {TOKEN}2")] == [401, 200]
    await reload(app_of(client), load)
    assert await status_of(None) == 200


async def test_a_reload_changes_the_limits_and_keeps_the_count_where_they_stay(
    stocked: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.0)

    async def statuses(**access: Any) -> list[int]:
        settings = {"upstream": {"url": stocked.url}, "store": {"location": "memory"}, "access": access}
        await reload(app_of(client), lambda: Settings.model_validate(settings))
        answers = []
        for _ in range(2):
            async with client.get("/simple/demo/") as response:
                answers.append(response.status)
        return answers

    client = await app_client()
    assert await statuses(requests_per_second=0.01) == [200, 429]
    assert await statuses(requests_per_second=0.01, trusted_proxies=["192.0.2.1"]) == [429, 429]
    assert await statuses(requests_per_second=0.011) == [200, 429]
    assert await statuses() == [200, 200]


@asynccontextmanager
async def connected_from(server: Running, address: str) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_a_page_at_hand_is_not_given_to_who_did_not_sign_in(
    stocked: BrokenMirror, access: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        for _ in range(5):
            assert (await connection.get(f"Authorization: {ALLOWED[0]}"))[0] == 200
            assert (await connection.get())[0] == 401
            assert (await connection.get("Authorization: Bearer other"))[0] == 401


async def test_a_page_at_hand_before_access_control_came_is_not_given_after_it(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> Settings:
        settings = {"upstream": {"url": stocked.url}, "store": {"location": "memory"}, "access": {"tokens": [TOKEN]}}
        return Settings.model_validate(settings)

    async with running(stocked, monkeypatch) as server, connected_from(server, "127.0.0.1") as connection:
        await warmed(server, connection)
        await reload(server.runner.app, load)
        for _ in range(3):
            assert (await connection.get())[0] == 401


async def test_a_page_at_hand_counts_against_the_limits(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.0)
    # One in a hundred seconds, however long the others take.
    async with running(stocked, monkeypatch, access={"requests_per_second": 0.01}) as server:
        async with connected_from(server, "127.0.0.1") as connection:
            statuses = [(await connection.get())[0] for _ in range(8)]
        assert statuses == [200] + [429] * 7
        async with connected_from(server, "127.0.0.2") as connection:
            assert (await connection.get())[0] == 200


async def test_whoever_asks_too_much_is_told_when_to_come_again_and_nobody_else_is(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.1)
    stocked.fault("page:*", hang(60))
    async with (
        running(stocked, monkeypatch, access={"requests_at_once": 2}, probe={"deadline": 14}) as server,
        connected_from(server, "127.0.0.1") as one,
        connected_from(server, "127.0.0.1") as two,
        connected_from(server, "127.0.0.1") as three,
        connected_from(server, "127.0.0.2") as other,
    ):
        await one.send(request())
        await two.send(request())
        limits = server.runner.app[admission.ADMISSION]._turns
        assert limits is not None
        await until(lambda: sum(each.requests for each in limits._clients.values()) == 2)
        status, headers, body = await three.get()
        assert (status, headers["content-type"]) == (429, "application/problem+json")
        assert int(headers["retry-after"]) >= 1
        assert stocked.url not in body.decode()
        await three.send(request(path="/healthz"))
        assert (await three.answer())[0] == 200
        await other.send(request(path="/simple/"))
        assert (await other.answer(body=False))[0] == 200


async def test_the_log_names_the_client_also_where_pages_are_at_hand(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    async with running(stocked, monkeypatch) as server:
        async with connected_from(server, "127.0.0.1") as connection:
            await warmed(server, connection)
        log.truncate(log.seek(0))
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            async with connected_from(server, address) as connection:
                before = server.ordinary
                await connection.get("X-Forwarded-For: 192.0.2.1") if address == "127.0.0.3" else await connection.get()
                assert server.ordinary == before + (address == "127.0.0.3")
    assert [line["client"] for line in lines(log, "request")] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


async def test_a_trusted_proxy_is_believed_and_others_are_not_also_where_pages_are_at_hand(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    forwarded = "X-Forwarded-For: 192.0.2.7"
    async with running(stocked, monkeypatch, access={"trusted_proxies": ["127.0.0.2", "127.0.0.3"]}) as server:
        async with connected_from(server, "127.0.0.2") as connection:
            await warmed(server, connection, forwarded)
            log.truncate(log.seek(0))
            await connection.get(forwarded)
            await connection.get()
        for address in ("127.0.0.1", "127.0.0.3", "127.0.0.1"):
            async with connected_from(server, address) as connection:
                await connection.get(forwarded)
    assert [line["client"] for line in lines(log, "request")] == ["192.0.2.7", "127.0.0.2", "127.0.0.1", "192.0.2.7", "127.0.0.1"]


async def test_limits_count_the_clients_behind_a_trusted_proxy_apart(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.0)
    access = {"requests_per_second": 0.1, "trusted_proxies": ["127.0.0.0/8"]}
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        answers = [(await connection.get(f"X-Forwarded-For: {each}"))[0] for each in ("192.0.2.1", "192.0.2.1", "192.0.2.2")]
        assert answers == [200, 429, 200]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
async def test_one_header_counts_and_a_client_gains_nothing_by_the_other(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, header: str
) -> None:
    lines_of = {"X-Forwarded-For": "X-Forwarded-For: 192.0.2.{}", "Forwarded": "Forwarded: for=192.0.2.{}"}
    counts = lines_of.pop(header)
    (other,) = lines_of.values()
    access = {"trusted_proxies": ["127.0.0.1"]} | ({} if header == "X-Forwarded-For" else {"client_address_header": header})
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        await connection.get(counts.format(1), other.format(66))
        await connection.get(other.format(66), counts.format(2))
        assert not lines(log, "client-address-header-ignored")
        for _ in range(3):
            await connection.get(other.format(66))
    assert [line["client"] for line in lines(log, "request")] == ["192.0.2.1", "192.0.2.2", *["127.0.0.1"] * 3]
    (said,) = lines(log, "client-address-header-ignored")
    assert f'client_address_header = "{other.partition(":")[0]}"' in said["remedy"]


async def test_whoever_sends_a_request_ever_so_slowly_is_hung_up_on(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dribble(writer: asyncio.StreamWriter) -> None:
        for letter in "GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nX-Slow: " + "a" * 10_000:
            writer.write(letter.encode())
            await asyncio.sleep(0.02)

    async with running(stocked, monkeypatch, keepalive_timeout=0.3) as server, connected_from(server, "127.0.0.1") as connection:
        dribbling = asyncio.create_task(dribble(connection.writer))
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(connection.reader.read(), 30) == b""
        assert not dribbling.done()
        dribbling.cancel()


async def test_whoever_takes_nothing_of_a_file_is_hung_up_on_and_the_mirror_is_let_go(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalled, "STALLED_FOR", 0.5)
    large = "large-1.0-py3-none-any.whl"
    stocked.add(large, bytes(64 * 1024 * 1024))
    async with running(stocked, monkeypatch) as server, connected_from(server, "127.0.0.1") as connection:
        await connection.send(request(path=f"/files/large/{large}"))
        assert server.runner.server is not None
        await asyncio.sleep(0.2)
        assert server.runner.server.connections
        async with asyncio.timeout(30):
            while server.runner.server.connections:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)


async def test_whoever_takes_a_file_slowly_gets_it_whole(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalled, "STALLED_FOR", 1.0)
    large, size = "large-1.0-py3-none-any.whl", 12 * 1024 * 1024
    stocked.add(large, bytes(size))
    async with running(stocked, monkeypatch) as server, connected_from(server, "127.0.0.1") as connection:
        await connection.send(request(path=f"/files/large/{large}"))
        await connection.reader.readuntil(b"\r\n\r\n")
        taken = 0
        while part := await connection.reader.read(min(64 * 1024, size - taken)):
            taken += len(part)
            await asyncio.sleep(0.02)
    assert taken == size


@pytest.mark.parametrize(
    "head",
    [
        f"GET /simple/demo/ HTTP/1.1\r\nHost: x\r\nX-Long: {'a' * 20_000}\r\n\r\n",
        f"GET /simple/{'a' * 20_000}/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /simple/demo/ HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{number}: a\r\n" for number in range(500)) + "\r\n",
    ],
    ids=["a long header", "a long address", "many headers"],
)
async def test_a_head_beyond_measure_is_refused(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    async with running(stocked, monkeypatch) as server, connected_from(server, "127.0.0.1") as connection:
        await connection.send(head.encode())
        assert (await connection.answer(body=False))[0] in {400, 431}
    assert stocked.asked == []


async def test_a_file_comes_whole_through_access_control(stocked: BrokenMirror, app_client: MakeClient, access: dict[str, Any]) -> None:
    client = await app_client(access=access | {"requests_at_once": 4, "requests_per_second": 1000})

    async def fetch() -> bytes:
        async with client.get(f"/files/demo/{WHEEL}", headers=signed(ALLOWED[3])) as response:
            return await response.read()

    assert set(await asyncio.gather(*(fetch() for _ in range(40)))) == {content_by_name(WHEEL)}


@pytest.mark.parametrize("authorization", ALLOWED)
async def test_a_page_is_at_hand_for_whoever_signs_in_too(
    stocked: BrokenMirror, access: dict[str, Any], monkeypatch: pytest.MonkeyPatch, authorization: str
) -> None:
    line = f"Authorization: {authorization}"
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        warm = await warmed(server, connection, line)
        plain = await connection.get(line, "X-Unlike: others")
        before = server.ordinary
        assert (await connection.get(line.lower().replace(authorization.lower(), authorization)))[0] == 200
        assert (await connection.get(line.replace(authorization, f"{authorization}x")))[0] == 401
    assert server.ordinary == before + 1
    assert warm[0] == 200
    assert warm[2] == plain[2]
    assert {**warm[1], "date": "", "x-request-id": ""} == {**plain[1], "date": "", "x-request-id": ""}
    assert warm[1]["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("authorization", ALLOWED)
async def test_a_page_at_hand_is_refused_once_its_account_is_struck_off(
    stocked: BrokenMirror, access: dict[str, Any], monkeypatch: pytest.MonkeyPatch, authorization: str
) -> None:
    line = f"Authorization: {authorization}"
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        await warmed(server, connection, line)
        others = Accounts(("f" * 32,), {"ada": ADA.partition(":")[2].replace("$04$", "$05$").encode()})
        server.runner.app[admission.ADMISSION].change(AccessSection.model_validate({"tokens": ["f" * 32]}), others)
        for _ in range(3):
            assert (await connection.get(line))[0] == 401


async def test_a_request_that_old_rules_let_in_leaves_nothing_for_new_ones(stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(stocked, monkeypatch) as server, connected_from(server, "127.0.0.1") as connection:
        await warmed(server, connection)
        page, gate = Index.page, server.runner.app[admission.ADMISSION]

        async def closed_meanwhile(self: Index, *arguments: Any) -> Any:
            served = await page(self, *arguments)
            gate.change(AccessSection.model_validate({"tokens": [TOKEN]}), Accounts((TOKEN,), {}))
            return served

        monkeypatch.setattr(Index, "page", closed_meanwhile)
        assert (await connection.get("X-Unlike: others"))[0] == 200
        for _ in range(3):
            assert (await connection.get("X-Unlike: others"))[0] == 401


async def test_a_password_in_use_is_checked_anew_behind_pages_at_hand(
    stocked: BrokenMirror, access: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"Authorization: {ALLOWED[-1]}"
    clock, checks = Clock(), []
    check = bcrypt.checkpw

    def counted(*arguments: Any) -> bool:
        checks.append(arguments)
        return check(*arguments)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        monkeypatch.setattr(server.runner.app[admission.ADMISSION]._doorkeeper, "_clock", clock)
        await warmed(server, connection, line)
        assert len(checks) == 1
        clock.passes(250)
        before = server.ordinary
        assert (await connection.get(line))[0] == 200
        assert server.ordinary == before + 1
        await until(lambda: len(checks) == 2)
        await warmed(server, connection, line)
        clock.passes(301)
        before = server.ordinary
        assert (await connection.get(line))[0] == 200
        assert server.ordinary == before + 1


async def test_no_credential_is_remembered_with_a_page_at_hand(
    stocked: BrokenMirror, access: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[ResponseMemo] = []
    made = ResponseMemo.__init__

    def keep(self: ResponseMemo, *arguments: Any) -> None:
        made(self, *arguments)
        kept.append(self)

    monkeypatch.setattr(ResponseMemo, "__init__", keep)
    async with running(stocked, monkeypatch, access=access) as server, connected_from(server, "127.0.0.1") as connection:
        for authorization in ALLOWED:
            await warmed(server, connection, f"Authorization: {authorization}")
        held = repr([vars(each) for each in kept])
    assert "_Answer(" in held
    for authorization in (*ALLOWED, TOKEN, PASSWORD):
        assert authorization not in held


async def test_a_page_at_hand_counts_against_the_rate_and_is_refused_beyond_it(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(stocked, monkeypatch, access={"requests_per_second": 100}) as server:
        async with connected_from(server, "127.0.0.1") as connection:
            await warmed(server, connection)
            limits = server.runner.app[admission.ADMISSION]._turns
            assert limits is not None
            client = limits._clients["127.0.0.1"]
            even, before = client.even, server.ordinary
            assert (await connection.get())[0] == 200
            assert server.ordinary == before
            assert client.even > even
            client.even = asyncio.get_running_loop().time() + 3600
            assert (await connection.get())[0] == 429
        async with connected_from(server, "127.0.0.2") as connection:
            before = server.ordinary
            assert (await connection.get())[0] == 200
            assert server.ordinary == before


async def test_a_page_at_hand_waits_where_a_client_has_as_many_requests_as_it_may(
    stocked: BrokenMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(stocked, monkeypatch, access={"requests_at_once": 1}) as server,
        connected_from(server, "127.0.0.1") as connection,
        connected_from(server, "127.0.0.1") as other,
    ):
        await warmed(server, connection)
        monkeypatch.setattr(turns, "_PATIENCE", 0.1)
        stocked.fault("page:other", hang(60))
        await other.send(request(path="/simple/other/"))
        limits = server.runner.app[admission.ADMISSION]._turns
        assert limits is not None
        await until(lambda: limits._clients["127.0.0.1"].requests == 1)
        assert (await connection.get())[0] == 429
