"""The container's files hold what they promise: what they name exists, and what they run is what the command accepts."""

import json
import re
import subprocess
import sys
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.cli.command import commands
from proxy.config import Settings
from proxy.config.keys import all_keys
from proxy.config.load import load_settings
from proxy.server import create_app
from tests.__main__ import ROOT
from tests.clients import run_command

MIRROR = "http://127.0.0.1:9/simple/"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def last_stage() -> dict[str, str]:
    all_of_them = instructions()
    starts = [at for at, (word, _) in enumerate(all_of_them) if word == "FROM"]
    assert len(starts) == 2
    return dict(all_of_them[starts[-1] :])


def command() -> list[str]:
    words: list[str] = json.loads(last_stage()["CMD"])
    return words


def settings_of_the_container() -> Settings:
    program, subcommand, *options = command()
    assert program == "mirrormend"
    with commands.commands[subcommand].make_context(subcommand, list(options)) as context:
        given = {name: value for name, value in context.params.items() if name != "config"}
    variables = dict(word.split("=", 1) for name, rest in instructions() if name == "ENV" for word in rest.split() if "MIRRORMEND_" in word)
    return load_settings(file=None, environ={"MIRRORMEND_UPSTREAM": MIRROR, **variables}, options=given)


@pytest.fixture
def service() -> Any:
    """The one service of docker-compose.yml."""
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    (only,) = composed["services"].values()
    assert set(composed["volumes"]) == {volume.partition(":")[0] for volume in only["volumes"]}
    return only


def test_the_process_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d+", last_stage()["USER"])
    assert f"--uid {last_stage()['USER']} " in last_stage()["RUN"]


def test_the_command_is_one_that_the_real_one_accepts() -> None:
    settings = settings_of_the_container()
    assert settings.server.listen == f"0.0.0.0:{last_stage()['EXPOSE']}"
    assert settings.log.format.value == "json"


def test_the_store_lies_on_the_volume_and_belongs_to_the_user_of_the_process() -> None:
    location = settings_of_the_container().store.location
    folder = last_stage()["VOLUME"]
    assert PurePosixPath(location.removeprefix("sqlite:")).parent == PurePosixPath(folder)
    assert f"install -d -o mirrormend -g mirrormend -m 0750 {folder}" in last_stage()["RUN"]


def health_check(port: int) -> list[str]:
    words: list[str] = json.loads(last_stage()["HEALTHCHECK"].partition("CMD ")[2])
    assert words[:2] == ["python", "-c"]
    exposed = f"http://127.0.0.1:{last_stage()['EXPOSE']}/"
    assert exposed in words[2]
    return [sys.executable, "-c", words[2].replace(exposed, f"http://127.0.0.1:{port}/")]


async def test_the_health_check_is_content_with_the_running_server_whatever_proxy_is_set(tmp_path: Any) -> None:
    app = create_app(Settings.model_validate({"upstream": {"url": MIRROR}, "store": {"location": "memory"}}))
    async with TestServer(app) as server:
        done = await run_command(health_check(server.port or 0), {"http_proxy": "http://127.0.0.1:9"}, tmp_path)
    assert done.ok, done


async def test_the_health_check_fails_where_the_server_does(tmp_path: Any) -> None:
    async with TestServer(web.Application()) as server:
        done = await run_command(health_check(server.port or 0), {}, tmp_path)
    assert not done.ok


def test_the_health_check_fails_where_nothing_listens() -> None:
    assert subprocess.run(health_check(9), check=False, capture_output=True).returncode == 1


def test_what_is_copied_exists_and_is_not_ignored_and_nothing_else_is_sent() -> None:
    copied = {name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied


def test_it_is_built_with_what_a_shared_store_needs() -> None:
    assert '".[redis]"' in next(rest for word, rest in instructions() if word == "RUN" and "pip install" in rest)


def test_composed_it_is_reachable_from_its_own_machine_only(service: Any) -> None:
    port = last_stage()["EXPOSE"]
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_composed_it_is_built_from_this_dockerfile_and_keeps_its_store(service: Any) -> None:
    assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).samefile(ROOT / "docker" / "Dockerfile")
    assert [volume.partition(":")[2] for volume in service["volumes"]] == [last_stage()["VOLUME"]]


def test_composed_it_can_write_nowhere_but_to_its_store(service: Any) -> None:
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - a path inside of the container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_composed_it_takes_the_mirror_from_the_environment_and_demands_it(service: Any) -> None:
    assert service["environment"]["MIRRORMEND_UPSTREAM"].startswith("${MIRRORMEND_UPSTREAM:?")


def test_composed_every_variable_is_one_that_the_real_command_reads(service: Any) -> None:
    known = {variable for key in all_keys() for variable in key.variables}
    assert {name for name in service["environment"] if name.startswith("MIRRORMEND_")} <= known


def test_composed_it_is_not_killed_before_requests_in_flight_are_done(service: Any) -> None:
    assert int(service["stop_grace_period"].removesuffix("s")) > settings_of_the_container().server.drain
