"""Files on their way to a client: when the first bytes leave, and what becomes of bytes that are not the file's."""

import asyncio
import gzip

import aiohttp
import pytest
from aiohttp import web

from proxy.server import file_transfer
from proxy.server.content_coding import is_gzip_coded
from tests.conftest import MakeClient
from tests.faults import Fault, Target, status
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

NAME = "demo-1.0-py3-none-any.whl"
WHEEL = make_wheel(NAME, payload=bytes(range(256)) * 400)
PATH = f"/files/demo/{NAME}"


def in_two_pieces(pause: float) -> Fault:
    """Send half of the file, and after so many seconds the rest."""

    async def fault(target: Target) -> web.StreamResponse | None:
        if target.request.method != "GET":
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(target.data))})
        await response.prepare(target.request)
        middle = len(target.data) // 2
        await response.write(target.data[:middle])
        await asyncio.sleep(pause / 2)
        await response.write(target.data[middle:-1])
        await asyncio.sleep(pause / 2)
        await response.write(target.data[-1:])
        await response.write_eof()
        return response

    return fault


async def test_a_small_file_that_comes_slowly_begins_before_it_is_whole(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_transfer, "_HELD_FOR", 0.05)
    mirror.add(NAME, WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(NAME, in_two_pieces(2.0))
    begun = asyncio.get_running_loop().time()
    async with client.get(PATH) as response:
        assert asyncio.get_running_loop().time() - begun < 1.8
        assert await response.read() == WHEEL


async def test_small_files_are_held_within_a_bound_for_all_and_leave_nothing_behind(
    mirror: BrokenMirror, app_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_transfer, "_HELD_BY_ALL", 26 * len(WHEEL) // 10)
    mirror.add(NAME, WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(NAME, in_two_pieces(1.0))
    begun = asyncio.get_running_loop().time()
    responses = await asyncio.gather(*(client.get(PATH) for _ in range(4)))
    assert asyncio.get_running_loop().time() - begun > 0.9, "one of them is held whole"
    assert {await response.read() for response in responses} == {WHEEL}
    assert file_transfer._ROOM.taken == 0


@pytest.mark.parametrize("sized", [True, False])
async def test_a_gzip_coding_that_ends_too_early_completes_no_file(mirror: BrokenMirror, app_client: MakeClient, *, sized: bool) -> None:
    mirror.add(NAME, WHEEL, size="auto" if sized else None, hashes={})
    client = await app_client(probe={"budget": 0})
    await client.get("/simple/demo/")
    mirror.fault(NAME, status(200, {"Content-Encoding": "gzip"}, gzip.compress(WHEEL)[:-90]))
    with pytest.raises(aiohttp.ClientError):
        await (await client.get(PATH)).read()


async def test_a_coded_file_of_several_members_is_decoded_whole(mirror: BrokenMirror, app_client: MakeClient) -> None:
    mirror.add(NAME, WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(NAME, status(200, {"Content-Encoding": "gzip"}, gzip.compress(WHEEL[:700]) + gzip.compress(WHEEL[700:]) + b"\0" * 40))
    assert await (await client.get(PATH)).read() == WHEEL


async def test_bytes_that_are_not_the_files_do_not_go_to_another_client_as_a_file_that_never_changes(
    mirror: BrokenMirror, app_client: MakeClient
) -> None:
    mirror.add(NAME, WHEEL)
    client = await app_client()
    await client.get("/simple/demo/")
    mirror.fault(NAME, status(200, {"Content-Type": "application/octet-stream"}, WHEEL[:-1] + b"x"))
    async with client.get(PATH) as response:
        assert response.status == 502
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("filename", "inside", "labelled", "is_coded"),
    [
        ("a.whl", b"PK\3\4", False, True),
        ("a.tar.gz", b"ustar", True, False),
        ("a.tar.gz", gzip.compress(b"ustar"), False, True),
        ("a.tar.bz2", b"BZh91", False, True),
        ("a.whl", b"<html>", True, False),
        ("a.json", b"{}", True, True),
        ("a.json", b"<html>", True, False),
        ("a.json", b"{}", False, False),
    ],
)
def test_what_is_inside_tells_a_coded_file_from_one_that_is_gzip_itself(
    filename: str, inside: bytes, is_coded: bool, labelled: bool
) -> None:
    body = gzip.compress(inside * 100)
    assert is_gzip_coded(filename, body, labelled=labelled, size=None, length=len(body)) is is_coded
    assert not is_gzip_coded(filename, body, labelled=labelled, size=len(body), length=len(body))
    assert not is_gzip_coded(filename, inside if not inside.startswith(b"\x1f") else b"PK", labelled=labelled, size=None, length=None)
