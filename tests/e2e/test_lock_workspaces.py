"""`mirrormend lock` in workspaces whose members have indexes of their own, and with files as some editors save them."""

from pathlib import Path

import pytest

from tests.clients import Uv, write_project
from tests.e2e.test_lock_command import DEAD, OLDER, VANE, WHEEL, Mirrormend, index, mend, project, stocked, uv
from tests.mirror import BrokenMirror

__all__ = ["mend", "project", "stocked", "uv"]

SOURCES = '\n[tool.uv.sources]\nvane = { index = "own" }\nstorm = { index = "own" }\n'


def own_index(url: str) -> str:
    """An explicit index called own."""
    return index(url, "explicit = true").replace("corp", "own")


def write_member(root: Path, name: str, extra: str = "", *, dependencies: tuple[str, ...] = ("vane", "storm")) -> None:
    """Write a project in a folder of the root."""
    path = write_project(root / name, list(dependencies), extra=extra) / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("myproject", path.parent.name), encoding="utf-8")


@pytest.mark.parametrize("how", ["member", "folder"])
async def test_an_explicit_index_in_another_project_of_the_lock_is_led_through_the_proxy(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, how: str
) -> None:
    write_member(mend.project, "packages/one", own_index(stocked.url) + SOURCES)
    write_member(mend.project, "packages/left-out", "not TOML", dependencies=())
    workspace = '\n[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/left-out"]\n'
    folder = '\n[tool.uv.sources]\none = { path = "packages/one" }\n'
    write_project(mend.project, ["one"] if how == "folder" else [], extra=index(stocked.url) + (folder if how == "folder" else workspace))
    assert not (await uv.run("lock", cwd=mend.project)).ok
    done = await mend.lock()
    assert done.ok, done
    assert DEAD not in mend.file.read_text(encoding="utf-8")
    assert (await uv.run("lock", "--check", cwd=mend.project)).ok


async def test_before_uv_fails_at_an_explicit_index_it_is_told_that_uv_asks_it_itself(stocked: BrokenMirror, mend: Mirrormend) -> None:
    async with BrokenMirror() as other:
        other.add(DEAD, None)
        write_member(mend.project, "one", own_index(stocked.url) + SOURCES)
        write_project(mend.project, [], extra=index(other.url) + '\n[tool.uv.workspace]\nmembers = ["*"]\n')
        config = mend.project.parent / "mirrors.toml"
        config.write_text(f'[[upstream]]\nurl = "{other.url}"\n[[upstream]]\nname = "own"\nurl = "{stocked.url}"\n', encoding="utf-8")
        done = await mend.lock("--config", str(config))
    assert not done.ok
    hint = "mirrormend: note: own in one/pyproject.toml is an explicit index: uv asks it itself"
    assert hint in done.stderr
    assert done.stderr.index(hint) < done.stderr.index(DEAD)


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.toml", "uv.lock", "one/pyproject.toml"])
async def test_a_byte_order_mark_does_not_matter_as_it_does_not_to_uv(stocked: BrokenMirror, mend: Mirrormend, uv: Uv, name: str) -> None:
    stocked.remove(DEAD)
    settings = index(stocked.url)
    write_member(mend.project, "one")
    if name == "uv.toml":
        (mend.project / name).write_text(settings.replace("tool.uv.", ""), encoding="utf-8")
    write_project(mend.project, ["storm==6.4.1"], extra=f"{settings}[tool.uv.workspace]\nmembers = ['one']\n")
    if name == "uv.lock":
        assert (await uv.run("lock", cwd=mend.project)).ok
    path = mend.project / name
    path.write_bytes("\ufeff".encode() + path.read_bytes())
    assert (await uv.run("lock", cwd=mend.project)).ok
    by_uv = mend.file.read_bytes()
    if name != "uv.lock":
        mend.file.unlink()
    done = await mend.lock()
    assert done.ok, done
    assert mend.file.read_bytes() == by_uv
    if name == "uv.lock":
        # It is led through the proxy like any other: the version stays that the requirement would let go by now.
        write_member(mend.project, "one", dependencies=("vane",))
        write_project(mend.project, [], extra=f"{settings}[tool.uv.workspace]\nmembers = ['one']\n")
        assert (await mend.lock()).ok
        assert OLDER in mend.file.read_text(encoding="utf-8")
        assert VANE.replace("+", "%2B") in mend.file.read_text(encoding="utf-8")
        assert WHEEL not in mend.file.read_text(encoding="utf-8")


@pytest.mark.parametrize("between", ['[project]\nname = "between"\nversion = "1"\n', "[tool.other]\n"])
async def test_a_project_within_another_is_locked_by_itself_as_uv_does(stocked: BrokenMirror, mend: Mirrormend, between: str) -> None:
    inner = mend.project / "a" / "b"
    write_member(mend.project, "a/b", index(stocked.url), dependencies=("vane",))
    (mend.project / "a" / "pyproject.toml").write_text(between, encoding="utf-8")
    write_project(mend.project, [], extra='\n[tool.uv.workspace]\nmembers = ["a/b"]\n')
    done = await mend.lock(cwd=inner)
    assert done.ok, done
    assert "vane" in (inner / "uv.lock").read_text(encoding="utf-8")
    assert not mend.file.exists()


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
async def test_settings_above_a_project_that_has_none_are_its_own_as_for_uv(
    stocked: BrokenMirror, mend: Mirrormend, uv: Uv, name: str
) -> None:
    stocked.remove(DEAD)
    inner = write_project(mend.project / "inner", ["vane"])
    settings = index(stocked.url)
    (mend.project / "pyproject.toml").unlink()
    (mend.project / name).write_text(settings.replace("tool.uv.", "") if name == "uv.toml" else settings, encoding="utf-8")
    assert (await uv.run("lock", cwd=inner)).ok
    by_uv = (inner / "uv.lock").read_bytes()
    (inner / "uv.lock").unlink()
    done = await mend.lock(cwd=inner)
    assert done.ok, done
    assert (inner / "uv.lock").read_bytes() == by_uv
