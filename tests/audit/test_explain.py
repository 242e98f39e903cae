"""`mirrormend explain`: one file, asked of the mirror itself or of a proxy that runs."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from proxy.audit.explaining import ProjectUnknown, project_of
from tests.audit.conftest import LINUX, MAC, OLD, SDIST, command, environment
from tests.clients import Completed, ProxyProcess, run_command
from tests.conftest import MakeClient
from tests.faults import artifactory_404, status
from tests.mirror import BrokenMirror

Explain: TypeAlias = Callable[..., Awaitable[Completed]]


@pytest.fixture
def explain(mirror: BrokenMirror, tmp_path: Path) -> Explain:
    """Gives `run(*words, **variables)`: the command as a process, to its end."""

    async def run(*words: str, **variables: str) -> Completed:
        chosen = environment(tmp_path, **{"MIRRORMEND_UPSTREAM": mirror.url, **variables})
        return await run_command(command("explain", *words), chosen, tmp_path)

    return run


@pytest.fixture
def broken(stocked: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel which it cannot deliver."""
    stocked.server_header = "Artifactory/7.90"
    stocked.fault(MAC, artifactory_404())
    return stocked


async def test_a_dead_file_is_explained_by_every_way_of_asking(broken: BrokenMirror, explain: Explain) -> None:
    done = await explain(MAC)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[-1] == "listed     no: the mirror lists it and answers 404"
    asked = [line for line in lines if line.startswith("asked ")]
    assert [("HEAD" in line, ": 404, " in line, "server: Artifactory/7.90" in line) for line in asked] == [(True,) * 3, (False, True, True)]
    assert any(line.startswith("witness ") for line in lines)
    assert any(line.startswith("repeat     curl") and line.endswith(f"-r 0-0 {broken.file_url(MAC)}") for line in lines)


async def test_a_file_that_is_there_ends_with_0_and_its_metadata_is_looked_at(broken: BrokenMirror, explain: Explain) -> None:
    done = await explain(LINUX)
    assert done.returncode == 0, done
    assert "metadata   can be had" in done.stdout
    assert done.stdout.endswith("listed     yes: the mirror delivers it\n")


async def test_a_file_that_is_not_listed_gets_the_nearest_names(broken: BrokenMirror, explain: Explain) -> None:
    done = await explain(MAC.replace("arm64", "arm"))
    assert done.returncode == 1
    assert f"nearest    {MAC}" in done.stdout
    assert "listed     no: the mirror's page lists no such file" in done.stdout


async def test_the_last_file_of_a_release_is_listed_until_it_is_confirmed(stocked: BrokenMirror, explain: Explain) -> None:
    stocked.fault(OLD, artifactory_404())
    done = await explain(OLD, "--format", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["standing"], told["listed"]) == (1, "listed-until-confirmed", True)
    assert [(each["asked"], each["status"]) for each in told["asked"]] == [("HEAD", 404), ("GET bytes=0-0", 404)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("demo.egg",), "'demo.egg' is no name of a wheel or an sdist; name its project with --project"),
        (("nosuch-1.0.tar.gz",), "answered 404"),
        ((SDIST, "--proxy", "127.0.0.1:8080"), "--proxy: write the address of the proxy, such as http://127.0.0.1:8080"),
        ((SDIST, "--proxy", "http://user:geheim@127.0.0.1:1"), "the proxy at http://127.0.0.1:1 cannot be asked"),
    ],
)
async def test_what_cannot_be_learned_gets_one_line_and_status_2(
    stocked: BrokenMirror, explain: Explain, words: tuple[str, ...], said: str
) -> None:
    done = await explain(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "geheim" not in done.stderr


def test_the_project_is_read_from_the_name() -> None:
    assert [project_of(name) for name in ("Demo_X-1.0-py3-none-any.whl", "demo.x-1.0.tar.gz")] == ["demo-x", "demo-x"]
    with pytest.raises(ProjectUnknown):
        project_of("demo-1.0.egg")


async def test_a_running_proxy_tells_what_it_knows_and_asks_about_no_file(broken: BrokenMirror, explain: Explain, tmp_path: Path) -> None:
    async with ProxyProcess(broken.url, tmp_path) as proxy:
        before = await explain(MAC, "--proxy", proxy.url)
        assert before.returncode == 0
        assert "listed     yes: the mirror was not asked about it yet" in before.stdout
        assert broken.count(kind="file") == 0
        done = await run_command(["curl", "-s", "--noproxy", "*", f"{proxy.simple}demo/"], environment(tmp_path), tmp_path)
        assert MAC not in done.stdout
        after = await explain(MAC, "--proxy", proxy.simple)
    assert after.returncode == 1
    assert "verdict    undeliverable (absent) since" in after.stdout
    assert after.stdout.endswith("listed     no: the mirror lists it and answers 404\n")


async def explained(client: Any, filename: str, **headers: str) -> dict[str, Any]:
    async with client.get(f"/explain/demo/{filename}", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert response.headers["Vary"] == "Authorization"
        told: dict[str, Any] = await response.json()
        return told


async def test_the_address_tells_the_standing_of_each_file(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.fault(MAC, artifactory_404())
    stocked.fault(LINUX, status(503))
    client = await app_client(upstream={"retries": 0})
    async with client.get("/simple/demo/") as response:
        await response.read()
    told = {name: await explained(client, name) for name in (MAC, LINUX, SDIST)}
    assert {name: (each["standing"], each["verdict"]["kind"]) for name, each in told.items()} == {
        MAC: ("dropped", "undeliverable"),
        LINUX: ("listed", "unknown"),
        SDIST: ("listed", "deliverable"),
    }
    assert told[MAC]["verdict"]["status"] == 404
    assert (await explained(client, "demo-9.tar.gz"))["standing"] == "not-on-the-mirrors-page"


async def test_what_another_identity_learned_is_not_told(stocked: BrokenMirror, app_client: MakeClient) -> None:
    stocked.credentials = ("reader", "s3cret")
    stocked.fault(MAC, artifactory_404())
    client = await app_client(upstream={"url": stocked.url.replace("://", "://reader:s3cret@")})
    mine = {"Authorization": "Basic cmVhZGVyOnMzY3JldA=="}
    async with client.get("/simple/demo/", headers=mine) as response:
        assert MAC not in await response.text()
    assert (await explained(client, MAC, **mine))["standing"] == "dropped"
    others = await explained(client, MAC)
    assert (others["standing"], others["verdict"]) == ("listed", None)
    assert "s3cret" not in json.dumps(others)
    async with client.get(f"/explain/demo/{MAC}", headers={"Authorization": "Basic bm9ib2R5Om5vYm9keQ=="}) as response:
        assert response.status == 401


async def test_secrets_in_the_mirrors_links_are_told_nobody(stocked: BrokenMirror, app_client: MakeClient, explain: Explain) -> None:
    hidden = "demo-3.0-py3-none-any.whl"
    stocked.add(hidden, url=f"http://me:geheim@127.0.0.1:9/d/{hidden}?token=geheim")
    told = await explained(await app_client(), hidden)
    assert told["file"]["url"] == f"http://127.0.0.1:9/d/{hidden}"
    assert "geheim" not in json.dumps(told)
    done = await explain(hidden)
    assert f"http://127.0.0.1:9/d/{hidden}" in done.stdout
    assert "geheim" not in done.stdout + done.stderr


async def test_metadata_at_fault_is_said_in_the_last_line_and_in_json(mirror: BrokenMirror, explain: Explain) -> None:
    mirror.add(OLD, core_metadata=True)
    mirror.fault(f"metadata:{OLD}", status(404))
    done = await explain(OLD)
    assert done.returncode == 1
    said = "its metadata is advertised, and the mirror answered 404: uv gives up over it"
    assert done.stdout.splitlines()[-1] == f"listed     yes: the mirror delivers it, but {said}"
    assert json.loads((await explain(OLD, "--format", "json")).stdout)["metadata"] == said
