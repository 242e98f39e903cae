"""Real uv through mirrormend, and mirrormend through a company's outbound proxy that wants credentials."""

import sys
from pathlib import Path

import pytest

from tests.clients import Completed, ProxyProcess, Uv, clean_environment, run_command, write_project
from tests.edge.dialling import headers_of
from tests.edge.outbound import Outbound, basic, outbound
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror

ROOT = str(Path(__file__).resolve().parent.parent.parent)
WANTED = basic("me@corp:p/w")
GIVEN = "me%40corp:p%2Fw"
DEAD, GOOD = "storm-6.4.2-cp311-cp311-macosx_11_0_arm64.whl", "storm-6.4.2-py3-none-any.whl"


@pytest.fixture
def mirror_with_login(mirror: BrokenMirror) -> str:
    """The address, with credentials, of a mirror that lists a file which it cannot deliver."""
    mirror.credentials = ("reader", "s3cret")
    mirror.add(DEAD)
    mirror.add(GOOD)
    mirror.fault(DEAD, artifactory_404())
    return mirror.url.replace("://", "://reader:s3cret@")


async def mirrormend(folder: Path, *words: str, **variables: str) -> Completed:
    """Runs the command with these variables."""
    environment = clean_environment(folder / "home") | {"PYTHONPATH": ROOT, "COLUMNS": "300"} | variables
    return await run_command([sys.executable, "-m", "proxy", *words], environment, folder)


def told(proxy: ProxyProcess, event: str) -> list[str]:
    return [str(line) for line in proxy.log if line.get("event") == event]


def at_the_mirror(way: Outbound, mirror: BrokenMirror) -> bool:
    """Return whether all that the mirror was asked came through the outbound proxy, and had nothing of its credentials."""
    through = len(way.heads) == len(mirror.asked) and all(head.split(b" ")[1].startswith(b"http://") for head in way.heads)
    return through and not any("Proxy-Authorization" in each.headers for each in mirror.asked)


async def test_uv_installs_by_way_of_a_proxy_that_wants_credentials(
    mirror_with_login: str, mirror: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    async with outbound(WANTED) as way:
        async with ProxyProcess(mirror_with_login, tmp_path, environment={"HTTP_PROXY": way.url_with(GIVEN)}) as proxy:
            done = await uv.sync(write_project(tmp_path / "project", ["storm"]), proxy.simple)
            assert done.ok, done
        assert {headers_of(head)["proxy-authorization"] for head in way.heads} == {WANTED}
        assert at_the_mirror(way, mirror)
        assert told(proxy, "verified")
        assert "'dropped': 1" in told(proxy, "verified")[0]
        assert "p/w" not in str(proxy.log)


@pytest.mark.parametrize(
    ("credentials", "remedy"),
    [("", "write its user and password into HTTP_PROXY"), ("me:geheim@", "correct the user and the password in HTTP_PROXY")],
)
async def test_without_the_right_ones_uv_check_and_the_log_name_the_proxy_and_the_remedy(
    mirror_with_login: str, mirror: BrokenMirror, uv: Uv, tmp_path: Path, credentials: str, remedy: str
) -> None:
    async with outbound(WANTED) as way:
        variables = {"HTTP_PROXY": way.url.replace("://", f"://{credentials}")}
        async with ProxyProcess(mirror_with_login, tmp_path, environment=variables) as proxy:
            project = write_project(tmp_path / "project", ["storm"])
            done = await uv.sync(project, proxy.simple, UV_HTTP_RETRIES="0")
        checked = await mirrormend(tmp_path, "check", "--format", "json", "--upstream", mirror_with_login, "storm", **variables)
    assert (done.ok, checked.returncode) == (False, 2)
    for said in (done.stderr, checked.stdout, *told(proxy, "request")):
        assert f"the outbound proxy refuses: {way.url} " in said
        assert remedy in said
        assert "admin" not in said
    assert "geheim" not in f"{done}{checked}{proxy.log}"
    assert told(proxy, "request")
    assert mirror.asked == []


async def test_a_mirror_in_an_exempt_network_is_asked_directly_by_every_command(
    mirror_with_login: str, mirror: BrokenMirror, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project", ["storm"])
    async with outbound(WANTED) as way:
        variables = {"HTTP_PROXY": way.url, "NO_PROXY": "foo 127.0.0.0/8", "MIRRORMEND_UPSTREAM": mirror_with_login}
        store = ("--store", f"sqlite:{tmp_path / 'store'}")
        ends = [
            (await mirrormend(tmp_path, *words, **variables)).returncode
            for words in (("check", "storm"), ("explain", GOOD), ("warm", *store, "storm"), ("lock", "--project", str(project)))
        ]
        assert way.heads == []
    # The check found the dead file.
    assert ends == [1, 0, 0, 0]
    assert (project / "uv.lock").read_text(encoding="utf-8").count(mirror.origin) > 0


async def test_a_mirrormend_in_an_exempt_network_is_asked_directly(mirror_with_login: str, uv: Uv, tmp_path: Path) -> None:
    async with outbound(WANTED) as way, ProxyProcess(mirror_with_login, tmp_path) as proxy:
        variables = {"HTTP_PROXY": way.url, "NO_PROXY": "127.0.0.0/8"}
        explained = await mirrormend(tmp_path, "explain", GOOD, "--proxy", proxy.url, **variables)
        assert explained.ok, explained
        assert way.heads == []


async def test_a_mirrormend_is_asked_by_way_of_a_proxy_with_its_credentials(mirror_with_login: str, tmp_path: Path) -> None:
    async with outbound(WANTED) as way, ProxyProcess(mirror_with_login, tmp_path) as proxy:
        explained = await mirrormend(tmp_path, "explain", GOOD, "--proxy", proxy.url, HTTP_PROXY=way.url_with(GIVEN))
        assert explained.ok, explained
        assert [headers_of(head)["proxy-authorization"] for head in way.heads] == [WANTED]
