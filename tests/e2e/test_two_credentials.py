"""Two mirrors behind one proxy, for each of which a client has credentials of its own: real uv gives each its own."""

from pathlib import Path

import pytest

from tests.clients import ProxyProcess, Uv
from tests.mirror import BrokenMirror

ALPHA, BETA = "alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"
PROJECT = """
[project]
name = "app"
version = "0"
requires-python = ">=3.11"
dependencies = ["alpha", "beta"]

[[tool.uv.index]]
name = "first"
url = "{first}"
default = true

[[tool.uv.index]]
name = "team"
url = "{team}"
explicit = true

[tool.uv.sources]
beta = {{ index = "team" }}
"""
CREDENTIALS = {
    "UV_NO_CONFIG": "0",
    "UV_INDEX_FIRST_USERNAME": "one",
    "UV_INDEX_FIRST_PASSWORD": "first-password",
    "UV_INDEX_TEAM_USERNAME": "two",
    "UV_INDEX_TEAM_PASSWORD": "second-password",
}


@pytest.mark.parametrize(("first", "works"), [("/default/simple/", True), ("/simple/", False)])
async def test_uv_gives_each_mirror_its_own_credentials_where_the_first_is_named_as_well(
    mirror: BrokenMirror, uv: Uv, tmp_path: Path, first: str, *, works: bool
) -> None:
    async with BrokenMirror() as team:
        mirror.add(ALPHA)
        team.add(BETA)
        mirror.credentials, team.credentials = ("one", "first-password"), ("two", "second-password")
        config = tmp_path / "two.toml"
        config.write_text(f'[[upstream]]\nurl = "{mirror.url}"\n[[upstream]]\nname = "team"\nurl = "{team.url}"\n', encoding="utf-8")
        async with ProxyProcess(None, tmp_path, "--config", str(config)) as proxy:
            (tmp_path / "app").mkdir()
            text = PROJECT.format(first=f"{proxy.url}{first}", team=f"{proxy.url}/team/simple/")
            (tmp_path / "app" / "pyproject.toml").write_text(text, encoding="utf-8")
            done = [await uv.run(command, cwd=tmp_path / "app", **CREDENTIALS) for command in ("lock", "sync")]
            # At /simple/ uv takes the first index for the whole proxy; once it no longer does, the warning below has no use.
            assert [each.ok for each in done] == [works, works], done
            told = [line for line in proxy.log if line.get("event") == "first-mirror-without-name"]
            assert [line["level"] for line in told] == ["warning"]
            assert "/default/simple/" in told[0]["remedy"]


async def test_nobody_is_warned_where_no_client_needs_credentials_of_its_own(mirror: BrokenMirror, tmp_path: Path) -> None:
    async with BrokenMirror() as team:
        own = 'username = "one"\npassword = "first-password"\n'
        config = tmp_path / "two.toml"
        config.write_text(
            f'[[upstream]]\nurl = "{mirror.url}"\n{own}[[upstream]]\nname = "team"\nurl = "{team.url}"\n{own}', encoding="utf-8"
        )
        async with ProxyProcess(None, tmp_path, "--config", str(config)) as proxy:
            assert not [line for line in proxy.log if line.get("event") == "first-mirror-without-name"]
