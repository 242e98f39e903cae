"""`mirrormend lock` and the spelling of an index: whatever uv makes of it, the lock has the bytes that uv itself writes."""

from pathlib import Path

import pytest
from aiohttp import web

from tests.clients import Uv, write_project
from tests.e2e.test_lock_command import Mirrormend, index
from tests.faults import Target
from tests.mirror import BrokenMirror

API = "/artifactory/api/pypi/pypi/simple"


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """The real uv, which reads pyproject.toml as users' does."""
    uv = Uv(tmp_path)
    del uv.environment["UV_NO_CONFIG"]
    return uv


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror with one project, whose file has an address that could be spelled in several ways."""
    name = "storm-6.4.2-py3-none-any.whl"
    listed = mirror.add(name, path=f"a%2Fb/~x/(1)!$&'*,;=:@[]|^/{name}")
    mirror.add(name, path=listed.path)
    return mirror


SPELLINGS = {
    "as it is": "http://{place}{api}/",
    "no slash": "http://{place}{api}",
    "query": "http://{place}{api}/?a=b&c='d e",
    "query without slash": "http://{place}{api}?a=b",
    "empty query": "http://{place}{api}/?",
    "fragment": "http://{place}{api}/#here",
    "dot segments": "http://{place}/./x/..{api}/y/%2E%2e/",
    "dot at the end": "http://{place}{api}/.",
    "escapes": "http://{place}/artifactory/api/pypi/py%70i/simple/",
    "short address": "http://127.1:{port}{api}/",
    "hexadecimal address": "http://0x7f.0.0.01:{port}{api}/",
    "escaped host": "http://%31%32%37.0.0.1:{port}{api}/",
    "wide digits": "http://\uff11\uff12\uff17.0.0.1:{port}{api}/",
    "dot behind the host": "http://127.0.0.1.:{port}{api}/",
    "capital host": "http://LOCALHOST:{port}{api}/",
    "zeros before the port": "http://127.0.0.1:000{port}{api}/",
    "one slash": "http:/{place}{api}/",
    "spaces": "  http://{place}{api}/ ",
    "credentials": "http://me:pw@{place}{api}/",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
async def test_the_lock_has_the_bytes_that_uv_writes_there(stocked: BrokenMirror, uv: Uv, tmp_path: Path, spelling: str) -> None:
    place = stocked.origin.removeprefix("http://")
    url = spelling.format(place=place, port=place.partition(":")[2], api=API)
    mend = Mirrormend(uv, write_project(tmp_path / "project", ["storm"], extra=index(url)))
    direct = await uv.run("lock", cwd=mend.project)
    assert direct.ok, direct
    by_uv = mend.file.read_bytes()
    mend.file.unlink()
    done = await mend.lock()
    assert done.ok, done
    assert mend.file.read_bytes() == by_uv
    # A lock that is there is led through the proxy and back.
    assert (await mend.lock("--", "--refresh")).ok
    assert mend.file.read_bytes() == by_uv


async def test_a_query_is_sent_to_the_mirror_as_uv_sends_it(stocked: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    async def wants_a_query(target: Target) -> web.Response | None:
        return None if target.request.query_string == "repo=dev" else web.Response(status=404)

    stocked.fault("page:*", wants_a_query)
    mend = Mirrormend(uv, write_project(tmp_path / "project", ["storm"], extra=index(f"{stocked.url}?repo=dev")))
    done = await mend.lock()
    assert done.ok, done
    assert f'registry = "{stocked.url}?repo=dev"' in mend.file.read_text(encoding="utf-8")
    assert (await uv.run("sync", "--locked", cwd=mend.project)).ok
    # It may be a secret, as credentials are.
    told = [done, await mend.lock("--check", "--proxy", f"{stocked.url}?repo=dev"), await mend.lock("--to", "mirror")]
    assert [each.returncode for each in told] == [0, 1, 0], told
    for each in told:
        assert stocked.url in each.stderr
        assert "repo=dev" not in each.stderr


@pytest.mark.parametrize("how", ["pyproject.toml", "--upstream"])
async def test_a_scheme_in_capitals_is_the_mirrors_address(stocked: BrokenMirror, uv: Uv, tmp_path: Path, how: str) -> None:
    shouted = stocked.url.replace("http:", "HTTP:")
    mend = Mirrormend(uv, write_project(tmp_path / "project", ["storm"], extra=index(shouted if how == "pyproject.toml" else stocked.url)))
    done = await (mend.lock() if how == "pyproject.toml" else mend.lock("--upstream", shouted))
    assert done.ok, done
    assert f'registry = "{stocked.url}"' in mend.file.read_text(encoding="utf-8")
    told = "uv takes an address with HTTP:// in capitals for the path of a folder" in done.stderr
    assert told == (how == "pyproject.toml")


async def test_an_index_that_is_no_address_is_refused_by_the_name_of_its_file(uv: Uv, tmp_path: Path) -> None:
    mend = Mirrormend(uv, write_project(tmp_path / "project", ["storm"], extra=index("https://mirror.example.com:99999/simple/")))
    done = await mend.lock()
    assert done.returncode == 2
    assert done.stderr == "mirrormend: pyproject.toml: the address of its index cannot be used: its port is none\n"
    done = await mend.lock("--upstream", "https://mirror.example.com/simple/")
    assert done.returncode == 2
    assert done.stderr.startswith("mirrormend: pyproject.toml names an address that cannot be read as uv's index, and the mirror is ")
    assert done.stderr.count("\n") == 1
