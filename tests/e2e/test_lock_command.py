"""`mirrormend lock`: real uv locks through the proxy, and the lock works without it."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.clients import Completed, ProxyProcess, Uv, read_lock, run_command, write_project
from tests.faults import artifactory_404, hang, slow
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel
from tests.world import MACOS, World

DEAD = "storm-6.4.2-cp39-abi3-macosx_10_9_universal2.whl"
WHEEL, OLDER, VANE = "storm-6.4.2-py3-none-any.whl", "storm-6.4.1-py3-none-any.whl", "vane-1.0+cu1-py3-none-any.whl"


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel of storm, the first by name, and answers 404 for it."""
    mirror.add(DEAD, None)
    for name in (WHEEL, "storm-6.4.2.tar.gz", OLDER):
        mirror.add(name)
    mirror.add(VANE, make_wheel(VANE, requires_dist=["storm"]))
    mirror.add("other-1.0-py3-none-any.whl")
    return mirror


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """The real uv, which reads pyproject.toml as users' does."""
    uv = Uv(tmp_path)
    del uv.environment["UV_NO_CONFIG"]
    return uv


class Mirrormend:
    """The command, with uv's environment."""

    def __init__(self, uv: Uv, project: Path) -> None:
        self.project = project
        root = str(Path(__file__).resolve().parent.parent.parent)
        self.environment = uv.environment | {"UV_PYTHON": uv.python, "PYTHONPATH": root, "MIRRORMEND_STORE": "memory"}

    @property
    def file(self) -> Path:
        """The lock."""
        return self.project / "uv.lock"

    def arguments(self, *words: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "proxy", "lock", *words]

    async def lock(self, *words: str, cwd: Path | None = None, **variables: str) -> Completed:
        """Runs `mirrormend lock` with these words."""
        return await run_command(self.arguments(*words), self.environment | variables, cwd or self.project)


def index(url: str, more: str = "default = true") -> str:
    """An index called corp for pyproject.toml."""
    return f'\n[[tool.uv.index]]\nname = "corp"\nurl = "{url}"\n{more}\n'


@pytest.fixture
def project(stocked: BrokenMirror, tmp_path: Path) -> Path:
    """A project whose pyproject.toml names the mirror as uv's index, as a team has it."""
    return write_project(tmp_path / "project", ["vane"], extra=index(stocked.url))


@pytest.fixture
def mend(uv: Uv, project: Path) -> Mirrormend:
    """The command in the project."""
    return Mirrormend(uv, project)


def of_the_mirror(path: Path, mirror: BrokenMirror, *files: str) -> None:
    """The lock names the mirror, these files of it, and no other address."""
    assert read_lock(path)[1] == {name: mirror.file_url(name).replace("+", "%2B") for name in files}
    text = path.read_text(encoding="utf-8")
    assert f'registry = "{mirror.url}"' in text
    assert text.count("http://") == text.count(mirror.origin)


FILES = (WHEEL, "storm-6.4.2.tar.gz", VANE)


def nothing_is_left(folder: Path) -> None:
    """No temporary file stands beside the lock."""
    assert {each.name for each in folder.iterdir()} <= {"pyproject.toml", "uv.lock", ".venv"}


@pytest.mark.parametrize("how", ["--locked", "--frozen"])
async def test_where_uv_lock_fails_the_command_locks_and_without_the_proxy_the_team_installs(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, how: str
) -> None:
    direct = await uv.run("lock", cwd=mend.project)
    assert not direct.ok
    assert DEAD in direct.stderr
    done = await mend.lock()
    assert done.ok, done
    of_the_mirror(mend.file, stocked, *FILES)
    assert f"mirrormend: uv.lock names {stocked.url}" in done.stderr
    made = mend.file.read_bytes()
    uv.fresh_cache()
    installed = await uv.run("sync", how, cwd=mend.project)
    assert installed.ok, installed
    assert "storm==6.4.2" in installed.stderr
    assert mend.file.read_bytes() == made
    nothing_is_left(mend.project)


async def test_from_a_healthy_mirror_the_lock_has_the_bytes_that_uv_lock_itself_writes(
    mirror: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    World.load().fill(mirror)
    project = World.write_project(tmp_path / "project")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(index(mirror.url))
    mend = Mirrormend(uv, project)
    direct = await uv.run("lock", cwd=project)
    assert direct.ok, direct
    by_uv = mend.file.read_bytes()
    mend.file.unlink()
    uv.fresh_cache()
    done = await mend.lock()
    assert done.ok, done
    assert mend.file.read_bytes() == by_uv


async def test_a_large_project_with_every_macos_wheel_dead_is_locked_whole_and_names_no_dead_file(
    mirror: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    World.load().fill(mirror)
    mirror.fault(MACOS, artifactory_404())
    project = World.write_project(tmp_path / "project")
    mend = Mirrormend(uv, project)
    done = await mend.lock("--upstream", mirror.url, MIRRORMEND_PROBE_DEADLINE="14")
    assert done.ok, done
    packages, files = read_lock(mend.file)
    assert packages == dict(World.load().chosen)
    assert files
    assert not [name for name in files if MACOS(name)]
    assert all(url.startswith(f"{mirror.origin}/") for url in files.values())
    assert (await uv.run("lock", "--check", cwd=project, UV_DEFAULT_INDEX=mirror.url)).ok


async def test_a_lock_that_fits_keeps_its_bytes_and_costs_the_mirror_nothing(stocked: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    text = "# of the team\n" + mend.file.read_text(encoding="utf-8")
    mend.file.write_bytes(text.replace("\n", "\r\n").encode())
    before = mend.file.stat().st_mode
    stocked.forget()
    done = await mend.lock()
    assert done.ok, done
    assert mend.file.read_bytes() == text.replace("\n", "\r\n").encode()
    assert mend.file.stat().st_mode == before
    assert [each.kind for each in stocked.asked if each.kind in {"page", "file"} and "files" not in each.path] == []


async def test_versions_stay_when_something_is_added_and_what_is_for_uv_is_passed_on(stocked: BrokenMirror, mend: Mirrormend) -> None:
    done = await mend.lock("--", "--upgrade-package", "storm==6.4.1")
    assert done.ok, done
    of_the_mirror(mend.file, stocked, OLDER, VANE)
    write_project(mend.project, ["vane", "other"], extra=index(stocked.url))
    checked = await mend.lock("--", "--check")
    assert checked.returncode == 1
    of_the_mirror(mend.file, stocked, OLDER, VANE)
    assert (await mend.lock()).ok
    of_the_mirror(mend.file, stocked, OLDER, VANE, "other-1.0-py3-none-any.whl")


async def test_a_dead_file_of_a_release_that_no_page_waited_for_does_not_stay_in_the_lock(stocked: BrokenMirror, mend: Mirrormend) -> None:
    dead = "storm-6.4.1-py3-none-macosx_10_9_universal2.whl"
    stocked.add(dead, None)
    # Without patience no page waits for more than its newest release.
    impatient = {"MIRRORMEND_PROBE_PATIENCE": "0", "MIRRORMEND_PROBE_RATE": "1"}
    stocked.fault("*", slow(0.3), methods={"HEAD"})
    done = await mend.lock("--", "--upgrade-package", "storm==6.4.1", **impatient)
    assert done.ok, done
    of_the_mirror(mend.file, stocked, OLDER, VANE)
    assert f"mirrormend: the mirror does not deliver {dead}; locking again without" in done.stderr


@pytest.mark.parametrize("links", ["proxy", "redirect", "direct"])
async def test_it_goes_through_a_proxy_that_runs_as_well(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path, links: str
) -> None:
    async with ProxyProcess(stocked.url, tmp_path, "--links", links) as proxy:
        done = await mend.lock("--proxy", proxy.url)
        assert done.ok, done
        asked = [line["path"] for line in proxy.log if line["event"] == "request"]
    assert "/simple/storm/" in asked
    of_the_mirror(mend.file, stocked, *FILES)
    assert (await uv.run("sync", "--locked", cwd=mend.project)).ok


async def test_where_the_environment_names_a_proxy_that_runs_it_is_found(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path
) -> None:
    write_project(mend.project, ["vane"])
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        done = await mend.lock(UV_DEFAULT_INDEX=proxy.simple)
        assert done.ok, done
        assert [line for line in proxy.log if line.get("path") == "/simple/storm/"]
    of_the_mirror(mend.file, stocked, *FILES)
    assert "note: uv needs this index wherever the lock is used" in done.stderr
    assert (await uv.run("sync", "--locked", cwd=mend.project, UV_DEFAULT_INDEX=stocked.url)).ok


@pytest.mark.parametrize("links", ["proxy", "direct"])
async def test_a_lock_made_through_a_proxy_before_becomes_one_of_the_mirror_and_keeps_its_versions(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path, links: str
) -> None:
    async with ProxyProcess(stocked.url, tmp_path, "--links", links) as proxy:
        old = await uv.lock(mend.project, proxy.simple, "--upgrade-package", "storm==6.4.1")
        assert old.ok, old
    assert (await mend.lock("--check")).returncode == 1
    done = await mend.lock()
    assert done.ok, done
    of_the_mirror(mend.file, stocked, OLDER, VANE)
    assert (await mend.lock("--check")).ok


async def test_addresses_alone_are_changed_there_and_back(stocked: BrokenMirror, mend: Mirrormend, tmp_path: Path) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        there = await mend.lock("--to", "proxy", "--proxy", proxy.simple)
        assert there.ok, there
        packages, files = read_lock(mend.file)
        assert packages == {"storm": "6.4.2", "vane": "1.0+cu1"}
        assert all(url.startswith(f"{proxy.url}/files/") for url in files.values())
        found = await mend.lock("--check")
        assert (found.returncode, proxy.simple in found.stderr) == (1, True)
        back = await mend.lock("--to", "mirror", "--proxy", proxy.simple)
        assert back.ok, back
        assert mend.file.read_bytes() == made
        assert (await mend.lock("--to", "proxy", "--proxy", proxy.simple)).ok
    # The proxy is gone: another one, for a moment, tells where the files are.
    assert (await mend.lock("--to", "mirror")).ok
    assert mend.file.read_bytes() == made
    assert (await mend.lock("--check")).ok


async def test_files_that_the_mirror_links_elsewhere_are_named_where_they_are(stocked: BrokenMirror, mend: Mirrormend, uv: Uv) -> None:
    async with BrokenMirror() as elsewhere:
        elsewhere.add(VANE, make_wheel(VANE, requires_dist=["storm"]))
        url = elsewhere.file_url(VANE)
        stocked.add(VANE, make_wheel(VANE, requires_dist=["storm"]), url=f"{url.replace('://', '://me:geheim@')}?token=geheim")
        done = await mend.lock(MIRRORMEND_UPSTREAM_ALLOW_HOSTS=elsewhere.origin.removeprefix("http://"))
        assert done.ok, done
        assert read_lock(mend.file)[1][VANE] == url
        assert "geheim" not in mend.file.read_text(encoding="utf-8")
        assert (await uv.run("sync", "--frozen", cwd=mend.project)).ok


@pytest.mark.parametrize("where", ["variables", "pyproject.toml", "settings"])
@pytest.mark.parametrize("running", [False, True], ids=["own proxy", "running proxy"])
async def test_credentials_open_the_mirror_and_never_enter_the_lock(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path, where: str, running: bool
) -> None:
    stocked.credentials = ("reader", "s3cret")
    variables = {"UV_INDEX_CORP_USERNAME": "reader", "UV_INDEX_CORP_PASSWORD": "s3cret"}
    given = variables if where == "variables" else {}
    of_proxy = {"MIRRORMEND_UPSTREAM_USERNAME": "reader", "MIRRORMEND_UPSTREAM_PASSWORD": "s3cret"} if where == "settings" else {}
    if where == "pyproject.toml":
        write_project(mend.project, ["vane"], extra=index(stocked.url.replace("://", "://reader:s3cret@")))
    if running:
        async with ProxyProcess(stocked.url, tmp_path, environment=of_proxy) as proxy:
            done = await mend.lock("--proxy", proxy.simple, **given)
    else:
        done = await mend.lock("--upstream", stocked.url, **given, **of_proxy)
    assert done.ok, done
    of_the_mirror(mend.file, stocked, *FILES)
    assert "@" not in mend.file.read_text(encoding="utf-8")
    assert "s3cret" not in mend.file.read_text(encoding="utf-8") + done.stderr + done.stdout
    synced = await uv.run("sync", "--locked", cwd=mend.project, **({} if where == "pyproject.toml" else variables))
    assert synced.ok, synced


@pytest.mark.parametrize(
    ("settings", "sources"),
    [
        (lambda url: index(url.rstrip("/")), ""),
        (lambda url: index(url, ""), ""),
        (lambda url: f'\n[tool.uv]\nindex-url = "{url}"\n', ""),
        (lambda url: f'\n[tool.uv]\nextra-index-url = ["{url}"]\n', ""),
        (lambda url: f'\n[[tool.uv.index]]\nurl = "{url}"\ndefault = true\n', ""),
        (index, '\n[tool.uv.sources]\nvane = { index = "corp" }\n'),
        (
            lambda url: index(url, "explicit = true") + f'\n[[tool.uv.index]]\nname = "main"\nurl = "{url}"\ndefault = true\n',
            '\n[tool.uv.sources]\nvane = { index = "corp" }\n',
        ),
    ],
    ids=["no slash at its end", "no default", "index-url", "extra-index-url", "no name", "a source is bound to it", "explicit besides"],
)
async def test_however_pyproject_names_the_mirror_uv_goes_through_the_proxy_and_is_content_afterwards(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, settings: object, sources: str
) -> None:
    assert callable(settings)
    write_project(mend.project, ["vane"], extra=f"{settings(stocked.url)}{sources}")
    done = await mend.lock()
    assert done.ok, done
    assert DEAD not in mend.file.read_text(encoding="utf-8")
    synced = await uv.run("sync", "--locked", cwd=mend.project)
    assert synced.ok, synced


async def test_another_index_keeps_its_place_and_its_packages(stocked: BrokenMirror, mend: Mirrormend, uv: Uv) -> None:
    async with BrokenMirror() as other:
        other.add("other-9.0-py3-none-any.whl")
        write_project(mend.project, ["vane", "other"], extra=f'\n[[tool.uv.index]]\nurl = "{other.url}"\n{index(stocked.url)}')
        done = await mend.lock()
        assert done.ok, done
        packages, files = read_lock(mend.file)
        assert packages["other"] == "9.0"
        assert files["other-9.0-py3-none-any.whl"] == other.file_url("other-9.0-py3-none-any.whl")
        assert (await uv.run("sync", "--locked", cwd=mend.project)).ok


async def test_from_a_member_of_a_workspace_the_lock_of_the_workspace_is_made(stocked: BrokenMirror, mend: Mirrormend, uv: Uv) -> None:
    member = write_project(mend.project / "packages" / "member", ["vane"])
    (member / "pyproject.toml").write_text((member / "pyproject.toml").read_text().replace("myproject", "member"), encoding="utf-8")
    write_project(mend.project, ["storm"], extra=f'{index(stocked.url)}\n[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    done = await mend.lock(cwd=member)
    assert done.ok, done
    of_the_mirror(mend.file, stocked, *FILES)
    assert not (member / "uv.lock").exists()
    assert (await mend.lock("--check", "--project", str(member))).ok


async def test_an_index_that_is_not_the_mirror_is_not_overruled(stocked: BrokenMirror, mend: Mirrormend, tmp_path: Path) -> None:
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        write_project(mend.project, ["vane"], extra=index(proxy.simple))
        for words in ((), ("--proxy", proxy.simple), ("--upstream", stocked.url)):
            done = await mend.lock(*words)
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
            assert f"pyproject.toml names {proxy.simple} as uv's index, and the mirror is {stocked.url}" in done.stderr
    write_project(
        mend.project,
        ["vane"],
        extra=index(stocked.url, "explicit = true") + '\n[[tool.uv.index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n',
    )
    done = await mend.lock("--upstream", stocked.url)
    assert done.returncode == 2
    assert "explicit" in done.stderr
    assert not mend.file.exists()


async def test_where_uv_fails_its_status_is_given_and_the_lock_is_as_before(stocked: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    write_project(mend.project, ["vane", "unheard-of"], extra=index(stocked.url))
    done = await mend.lock()
    assert done.returncode not in {0, 2}
    assert "unheard-of" in done.stderr
    assert mend.file.read_bytes() == made
    mend.file.unlink()
    assert not (await mend.lock()).ok
    assert not mend.file.exists()
    nothing_is_left(mend.project)


async def test_a_lock_that_is_none_is_uvs_to_complain_about(stocked: BrokenMirror, mend: Mirrormend) -> None:
    mend.file.write_text("<<<<<<< HEAD\n", encoding="utf-8")
    done = await mend.lock()
    assert not done.ok
    assert mend.file.read_text(encoding="utf-8") == "<<<<<<< HEAD\n"
    renamed = await mend.lock("--to", "mirror")
    assert renamed.returncode == 1
    assert renamed.stderr.startswith("mirrormend: this is no uv.lock that can be read")


async def test_a_file_that_the_mirror_lists_no_more_stops_the_change_of_addresses(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path
) -> None:
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        assert (await uv.lock(mend.project, proxy.simple)).ok
    made = mend.file.read_bytes()
    stocked.remove("storm-6.4.2.tar.gz")
    done = await mend.lock("--to", "mirror")
    assert done.returncode == 1
    assert done.stderr == (
        "mirrormend: the mirror's page of storm does not list storm-6.4.2.tar.gz any more; lock anew: mirrormend lock -- --refresh\n"
    )
    assert mend.file.read_bytes() == made
    done = await mend.lock("--", "--refresh")
    assert done.ok, done
    of_the_mirror(mend.file, stocked, WHEEL, VANE)


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_whoever_ends_it_finds_the_lock_as_before(
    stocked: BrokenMirror, mend: Mirrormend, ending: signal.Signals, status: int
) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    write_project(mend.project, ["vane", "other"], extra=index(stocked.url))
    stocked.forget()
    stocked.fault("page:other", hang(30))
    process = await asyncio.create_subprocess_exec(
        *mend.arguments(), env=mend.environment, cwd=mend.project, stderr=asyncio.subprocess.DEVNULL
    )
    while not [each for each in stocked.asked if each.path.endswith("/other/")]:
        await asyncio.sleep(0.05)
        assert process.returncode is None
    assert mend.file.read_bytes() != made
    # Meanwhile nobody else on the machine can use the proxy.
    (address,) = re.findall(rb'registry = "(http://127.0.0.1:\d+/simple/)"', mend.file.read_bytes())[:1]
    async with aiohttp.ClientSession() as session, session.get(f"{address.decode()}vane/") as response:
        assert response.status == 401
    os.kill(process.pid, ending)
    assert await process.wait() == status
    assert mend.file.read_bytes() == made
    nothing_is_left(mend.project)


async def test_a_requirement_that_links_to_the_proxy_is_refused(stocked: BrokenMirror, mend: Mirrormend, tmp_path: Path) -> None:
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        write_project(mend.project, ["vane", f"other @ {proxy.url}/files/other/other-1.0-py3-none-any.whl"], extra=index(stocked.url))
        done = await mend.lock("--proxy", proxy.simple)
    assert done.returncode == 1
    assert f"the lock names {proxy.simple} for something else than an index; require packages by their names" in done.stderr
    assert not mend.file.exists()


async def test_after_being_killed_the_next_run_finds_its_way_back(stocked: BrokenMirror, mend: Mirrormend) -> None:
    assert (await mend.lock()).ok
    made = mend.file.read_bytes()
    mend.file.write_bytes(made.replace(stocked.url.encode(), b"http://127.0.0.1:20001/simple/"))
    done = await mend.lock()
    assert done.ok, done
    assert mend.file.read_bytes() == made


async def test_what_only_a_second_index_could_deliver_is_not_named(stocked: BrokenMirror, mend: Mirrormend) -> None:
    async with BrokenMirror() as second:
        second.add(DEAD)
        stocked.add(DEAD)
        stocked.fault(DEAD, artifactory_404())
        done = await mend.lock(MIRRORMEND_RESCUE_ENABLED="true", MIRRORMEND_RESCUE_URL=second.url)
    assert done.ok, done
    of_the_mirror(mend.file, stocked, *FILES)


async def test_two_mirrors_of_one_proxy_are_told_apart(stocked: BrokenMirror, mend: Mirrormend, uv: Uv, tmp_path: Path) -> None:
    async with BrokenMirror() as team:
        team.add("other-9.0-cp39-abi3-macosx_10_9_universal2.whl", None)
        team.add("other-9.0-py3-none-any.whl")
        config = tmp_path / "mend.toml"
        config.write_text(f'[[upstream]]\nurl = "{stocked.url}"\n[[upstream]]\nname = "team"\nurl = "{team.url}"\n', encoding="utf-8")
        named = f'\n[[tool.uv.index]]\nname = "team"\nurl = "{team.url}"\n'
        write_project(mend.project, ["vane", "other"], extra=f"{named}{index(stocked.url)}")
        done = await mend.lock("--config", str(config))
        assert done.ok, done
        _, files = read_lock(mend.file)
        assert files["other-9.0-py3-none-any.whl"] == team.file_url("other-9.0-py3-none-any.whl")
        assert files[WHEEL] == stocked.file_url(WHEEL)
        assert (await uv.run("sync", "--locked", cwd=mend.project)).ok
        made = mend.file.read_bytes()
        assert (await mend.lock("--config", str(config))).ok
        assert mend.file.read_bytes() == made
