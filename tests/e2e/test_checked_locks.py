"""Locks and exports of the real uv, checked and warmed: the mirror hears of its own packages, and of no others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.audit.conftest import as_json, command, environment
from tests.clients import Completed, ProxyProcess, Uv, run_command, write_project
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

OWN = ("alpha", "beta")
PRIVATE = ("secret", "member", "folder", "archived", "editable")


@pytest.fixture
async def private() -> AsyncIterator[BrokenMirror]:
    """A private index, which has what the mirror must not hear of."""
    async with BrokenMirror() as running:
        running.add("secret-3.0-py3-none-any.whl", upload_time="2024-01-01T00:00:00Z")
        yield running


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror of `alpha` and `beta`."""
    for name in OWN:
        mirror.add(f"{name}-1.0-py3-none-any.whl", upload_time="2024-01-01T00:00:00Z")
    return mirror


async def run(tmp_path: Path, upstream: str, *words: str) -> Completed:
    variables = {"MIRRORMEND_UPSTREAM": upstream, "MIRRORMEND_UPSTREAM_RETRIES": "0"}
    return await run_command(command(*words), environment(tmp_path, **variables), tmp_path)


async def locked(uv: Uv, folder: Path, default: str, dependencies: list[str], extra: str) -> Path:
    """Lock a project with these indexes in its pyproject.toml, and export the lock; return its folder."""
    del uv.environment["UV_NO_CONFIG"]
    index = f'\n[[tool.uv.index]]\nname = "default"\nurl = "{default}"\ndefault = true\n'
    project = write_project(folder, dependencies, extra=extra + index)
    done = await uv.run("lock", cwd=project)
    assert done.ok, done
    for name in ("pylock.toml", "requirements.txt"):
        done = await uv.run("export", "--format", name, "-o", name, cwd=project)
        assert done.ok, done
    return project


def with_everything_private(folder: Path, index: str) -> str:
    """Write what no index has below `folder`; return the tables of a pyproject.toml that depends on it."""
    for name, place in (("member", "packages/member"), ("editable", "../editable")):
        write_project(folder / place, [], extra="\n[tool.uv]\npackage = false\n")
        text = (folder / place / "pyproject.toml").read_text(encoding="utf-8")
        (folder / place / "pyproject.toml").write_text(text.replace("myproject", name), encoding="utf-8")
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    for name in ("folder", "archived"):
        (wheels / f"{name}-1.0-py3-none-any.whl").write_bytes(make_wheel(f"{name}-1.0-py3-none-any.whl"))
    return (
        '\n[tool.uv.sources]\nsecret = { index = "private" }\nmember = { workspace = true }\nfolder = { index = "folder" }\n'
        'archived = { path = "wheels/archived-1.0-py3-none-any.whl" }\neditable = { path = "../editable", editable = true }\n'
        '\n[tool.uv.workspace]\nmembers = ["packages/*"]\n'
        f'\n[[tool.uv.index]]\nname = "private"\nurl = "{index}"\nexplicit = true\n'
        '\n[[tool.uv.index]]\nname = "folder"\nurl = "wheels"\nformat = "flat"\nexplicit = true\n'
    )


def heard_of(mirror: BrokenMirror, names: tuple[str, ...]) -> set[str]:
    return {name for name in names if any(name in each.path for each in mirror.asked)}


@pytest.mark.parametrize("through", [False, True])
async def test_the_mirror_hears_of_its_own_packages_alone(
    stocked: BrokenMirror, private: BrokenMirror, uv: Uv, tmp_path: Path, through: bool
) -> None:
    extra = with_everything_private(tmp_path / "project", private.url)
    async with ProxyProcess(stocked.url, tmp_path) as proxy:
        project = await locked(uv, tmp_path / "project", proxy.simple if through else stocked.url, [*OWN, *PRIVATE], extra)
    # What is no package is not exported: the member of the workspace.
    for name, elsewhere in (("uv.lock", len(PRIVATE)), ("pylock.toml", len(PRIVATE) - 1)):
        stocked.forget()
        done = await run(tmp_path, stocked.url, "check", "-q", "--format", "json", "--lock", str(project / name))
        report = as_json(done)
        assert done.returncode == 0, done
        assert [each["name"] for each in report["projects"]] == list(OWN)
        assert report["sources"][0]["elsewhere"] == elsewhere
        assert (heard_of(stocked, OWN), heard_of(stocked, PRIVATE)) == (set(OWN), set())
        stocked.forget()
        store = f"sqlite:{tmp_path / name}.sqlite3"
        done = await run(tmp_path, stocked.url, "warm", "-q", "--store", store, "--lock", str(project / name))
        assert done.returncode == 0, done
        assert (heard_of(stocked, OWN), heard_of(stocked, PRIVATE)) == (set(OWN), set())


async def test_both_spellings_of_the_mirror_in_a_lock_are_checked(stocked: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    other = stocked.url.rstrip("/")
    extra = f'\n[tool.uv.sources]\nbeta = {{ index = "again" }}\n\n[[tool.uv.index]]\nname = "again"\nurl = "{other}"\nexplicit = true\n'
    project = await locked(uv, tmp_path / "project", stocked.url, list(OWN), extra)
    text = (project / "uv.lock").read_text(encoding="utf-8")
    assert f'registry = "{stocked.url}"' in text
    assert f'registry = "{other}"' in text
    for name in ("uv.lock", "pylock.toml"):
        for upstream in (stocked.url, other):
            done = await run(tmp_path, upstream, "check", "-q", "--format", "json", "--lock", str(project / name))
            report = as_json(done)
            assert done.returncode == 0, done
            assert [each["name"] for each in report["projects"]] == list(OWN)
            assert report["sources"][0]["elsewhere"] == 0


async def test_a_lock_made_at_another_index_is_checked_where_it_has_that_one_alone(
    stocked: BrokenMirror, private: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    """As a lock made at PyPI is checked against the mirror of the company, with and without an index of its own in the lock."""
    extra = '\n[tool.uv.sources]\nsecret = { index = "private" }\n'
    extra += f'\n[[tool.uv.index]]\nname = "private"\nurl = "{private.url}"\nexplicit = true\n'
    async with BrokenMirror() as public:
        for name in OWN:
            public.add(f"{name}-1.0-py3-none-any.whl")
        alone = await locked(uv, tmp_path / "alone", public.url, list(OWN), "")
        uv.environment["UV_NO_CONFIG"] = ""
        project = await locked(uv, tmp_path / "project", public.url, [*OWN, "secret"], extra)
    done = await run(tmp_path, stocked.url, "check", "-q", "--lock", str(alone / "uv.lock"))
    assert done.returncode == 0, done
    stocked.forget()
    lock = str(project / "uv.lock")
    done = await run(tmp_path, stocked.url, "check", "-q", "--lock", lock)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"{public.url}, {private.url}; give --lock-index URL" in done.stderr
    assert stocked.asked == []
    done = await run(tmp_path, stocked.url, "check", "-q", "--lock", lock, "--lock-index", public.url.rstrip("/"))
    assert done.returncode == 0, done
    assert (heard_of(stocked, OWN), heard_of(stocked, ("secret",))) == (set(OWN), set())
    done = await run(tmp_path, stocked.url, "warm", "-q", "--lock", lock, "--lock-index", "packages")
    assert done.returncode == 2
    assert "--lock-index is no address" in done.stderr


@pytest.mark.parametrize("verb", ["check", "warm"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", ""),
        ("uv.lock", '[[project]]\nname = "x"\n'),
        ("uv.lock", 'version = 1\n[package]\nname = "x"\n'),
        ("pylock.toml", 'lock-version = "1.0"\n[packages]\nname = "x"\n'),
        ("poetry.lock", "package = 1\n"),
        ("Pipfile.lock", "[]"),
    ],
)
async def test_a_lock_that_is_none_ends_with_2_and_one_line(stocked: BrokenMirror, tmp_path: Path, verb: str, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = await run(tmp_path, stocked.url, verb, "--lock", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"mirrormend: {name}: ")
    assert done.stderr.count("\n") == 1
    assert stocked.asked == []


async def test_of_two_mirrors_each_is_checked_for_its_own_part_of_a_lock_through_the_proxy(
    stocked: BrokenMirror, private: BrokenMirror, uv: Uv, tmp_path: Path
) -> None:
    config = tmp_path / "mirrormend.toml"
    sections = [
        f'[[upstream]]\nname = "{name}"\nurl = "{url}"\nretries = 0\n' for name, url in (("main", stocked.url), ("own", private.url))
    ]
    config.write_text("\n".join(sections), encoding="utf-8")
    async with ProxyProcess(None, tmp_path, "--config", str(config)) as proxy:
        extra = '\n[tool.uv.sources]\nsecret = { index = "own" }\n'
        extra += f'\n[[tool.uv.index]]\nname = "own"\nurl = "{proxy.url}/own/simple/"\nexplicit = true\n'
        project = await locked(uv, tmp_path / "project", proxy.simple, [*OWN, "secret"], extra)
    stocked.forget()
    private.forget()
    for options, projects in (((), list(OWN)), (("--mirror", "own"), ["secret"])):
        words = ["check", "-q", "--format", "json", "--config", str(config), "--lock", str(project / "uv.lock"), *options]
        report = as_json(await run_command(command(*words), environment(tmp_path), tmp_path))
        assert [each["name"] for each in report["projects"]] == projects
    assert (heard_of(stocked, ("secret",)), heard_of(private, OWN)) == (set(), set())
