"""mirrormend behind nginx as it is installed, which asks by HTTP/1.0: what breaks off at the mirror is broken for its clients as well."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Completed, Pip, ProxyProcess, Uv, clean_environment, run_command, write_project
from tests.edge.test_listener_tls import Certificate
from tests.faults import cut, without_length
from tests.mirror import BrokenMirror
from tests.peers.serving import free_port, nginx, running
from tests.wheels import make_wheel

NAME = "demo-1.0-py3-none-any.whl"
WHEEL = make_wheel(NAME, payload=bytes(range(256)) * 16_000)
HALF = len(WHEEL) // 2

_CACHE = "proxy_cache_path {folder}/cache keys_zone=files:1m;"
_SERVER = "location / {{ proxy_pass {address}; }} location /files/ {{ proxy_pass {address}; {more} }}"
_CACHED = "proxy_cache files; proxy_cache_valid 200 1h; proxy_ignore_headers Cache-Control Expires Vary;"


@pytest.fixture(params=["plain", "caching"])
async def nginx_url(request: Any, mirror: BrokenMirror, tmp_path: Path) -> AsyncIterator[str]:
    """Yield the address of nginx before the proxy before the mirror."""
    caching = request.param == "caching"
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ProxyProcess(mirror.url, tmp_path, environment={"MIRRORMEND_UPSTREAM_RETRIES": "0"}))
        address, port = proxy.simple.removesuffix("/simple/"), free_port()
        http = _CACHE.format(folder=tmp_path) if caching else ""
        server = _SERVER.format(address=address, more=_CACHED if caching else "")
        stack.enter_context(running(nginx(tmp_path, port, http, server), port, tmp_path))
        yield f"http://127.0.0.1:{port}"


async def fetched(url: str, folder: Path, *more: str) -> Completed:
    command = ["curl", "-sS", "--noproxy", "*", "-o", str(folder / "body"), *more, url]
    return await run_command(command, clean_environment(folder / "curl-home"), folder)


Break = Callable[[BrokenMirror], None]


def in_chunks(mirror: BrokenMirror) -> None:
    mirror.fault(NAME, without_length(send=HALF), methods=("GET",))


def with_a_length(mirror: BrokenMirror) -> None:
    mirror.fault(NAME, cut(promise=len(WHEEL), send=HALF), methods=("GET",))


@pytest.mark.parametrize("known", [{}, {"size": None}, {"hashes": {"md5": "0" * 32}, "size": None}], ids=["size", "sha256", "neither"])
@pytest.mark.parametrize("breaks", [in_chunks, with_a_length])
async def test_a_broken_transfer_is_one_behind_nginx_and_is_not_cached(
    mirror: BrokenMirror, nginx_url: str, tmp_path: Path, breaks: Break, known: dict[str, Any]
) -> None:
    mirror.add(NAME, WHEEL, **known)
    breaks(mirror)
    url = f"{nginx_url}/files/demo/{NAME}"
    for _ in range(2):
        done = await fetched(url, tmp_path)
        # 18: a part of the file; 52 and 56: the connection broke; 22 and a problem: nothing was sent (nginx buffers).
        assert done.returncode in {18, 52, 56}, done
    mirror.heal()
    done = await fetched(url, tmp_path)
    assert done.ok, done
    assert (tmp_path / "body").read_bytes() == WHEEL


async def test_uv_and_pip_never_take_a_part_for_the_file(mirror: BrokenMirror, nginx_url: str, uv: Uv, pip: Pip, tmp_path: Path) -> None:
    # Without a hash neither could tell a part of the file from the whole but by the transfer.
    mirror.add(NAME, WHEEL, hashes={}, size=None)
    project = write_project(tmp_path / "project", ["demo"])
    locked = await uv.lock(project, f"{nginx_url}/simple/")
    assert locked.ok, locked
    in_chunks(mirror)
    done = await uv.sync(project, f"{nginx_url}/simple/", UV_HTTP_RETRIES="0")
    assert not done.ok
    assert "demo" not in [each.name.partition("-")[0] for each in (project / ".venv").rglob("demo-*.dist-info")]
    installed = await pip.install(f"{nginx_url}/simple/", "demo")
    assert not installed.ok
    mirror.heal()
    assert (await uv.sync(project, f"{nginx_url}/simple/")).ok
    assert (await pip.install(f"{nginx_url}/simple/", "demo")).ok


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_the_process_resets_a_broken_transfer_itself(mirror: BrokenMirror, tmp_path: Path, tls: bool) -> None:
    mirror.add(NAME, WHEEL, size=None, hashes={"md5": "0" * 32})
    environment, more = {}, ["--http1.0"]
    if tls:
        section = Certificate(tmp_path).section
        environment = {"MIRRORMEND_SERVER_TLS_CERT": str(section.tls_cert), "MIRRORMEND_SERVER_TLS_KEY": str(section.tls_key)}
        more.append("--insecure")
    async with ProxyProcess(mirror.url, tmp_path, environment=environment) as proxy:
        url = proxy.simple.removesuffix("simple/") + f"files/demo/{NAME}"
        in_chunks(mirror)
        done = await fetched(url, tmp_path, *more)
        assert done.returncode == 56, done
        mirror.heal()
        assert (await fetched(url, tmp_path, *more)).ok
        assert (tmp_path / "body").read_bytes() == WHEEL
