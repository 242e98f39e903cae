"""The container's files hold what they promise: what they name exists, and what they run is what the command accepts."""

import json
import re
import subprocess
import sys
from pathlib import PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.cli.command import commands
from proxy.config import Settings
from proxy.config.keys import all_keys
from proxy.config.load import load_settings
from proxy.server import create_app
from proxy.server.run import seconds_to_end
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
    words: list[str] = [*json.loads(last_stage()["ENTRYPOINT"]), *json.loads(last_stage()["CMD"])]
    return words


def settings_of_the_container() -> Settings:
    program, subcommand, *options = command()
    assert program == "mirrormend"
    with commands.commands[subcommand].make_context(subcommand, list(options)) as context:
        given = {name: value for name, value in context.params.items() if name != "config"}
    variables = dict(word.split("=", 1) for name, rest in instructions() if name == "ENV" for word in rest.split() if "MIRRORMEND_" in word)
    return load_settings(file=None, environ={"MIRRORMEND_UPSTREAM": MIRROR, **variables}, options=given)


@pytest.fixture
def composed() -> Any:
    """What docker-compose.yml says."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.fixture
def service(composed: Any) -> Any:
    """The proxy's service of docker-compose.yml."""
    return composed["services"]["mirrormend"]


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
    needed = next(rest for word, rest in instructions() if word == "RUN" and "requirements.txt" in rest)
    assert "project['optional-dependencies']['redis']" in needed


def test_what_is_needed_is_installed_before_the_code_is_copied_so_that_its_layer_stays() -> None:
    steps = [f"{word} {rest}" for word, rest in instructions()]
    installed = next(at for at, step in enumerate(steps) if "-r requirements.txt" in step)
    assert installed < steps.index("COPY proxy proxy")
    assert [step for step in steps[:installed] if step.startswith("COPY")] == ["COPY pyproject.toml ./"]


def test_the_compose_file_is_one(composed: Any) -> None:
    assert valid("compose-spec", "docker-compose.yml")
    named = {volume.partition(":")[0] for each in composed["services"].values() for volume in each.get("volumes", [])}
    assert set(composed["volumes"]) == {name for name in named if not name.startswith(".")}
    assert [name for name in named if name.startswith(".") and not (ROOT / name).is_file()] == []


def test_composed_nothing_is_reachable_but_from_its_own_machine(composed: Any) -> None:
    published = [port for each in composed["services"].values() for port in each.get("ports", [])]
    assert len(published) >= 2
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert f"127.0.0.1:{last_stage()['EXPOSE']}:{last_stage()['EXPOSE']}" in composed["services"]["mirrormend"]["ports"]


def test_composed_it_is_built_from_this_dockerfile(service: Any) -> None:
    assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).samefile(ROOT / "docker" / "Dockerfile")


def test_composed_nothing_can_write_but_to_its_volumes(composed: Any) -> None:
    for each in composed["services"].values():
        assert each["read_only"] is True
        assert each["tmpfs"] == ["/tmp"]  # noqa: S108 - a path inside of the container
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]


def test_composed_it_takes_the_mirror_from_the_environment_and_demands_it(service: Any) -> None:
    assert service["environment"]["MIRRORMEND_UPSTREAM"].startswith("${MIRRORMEND_UPSTREAM:?")


def test_composed_every_variable_is_one_that_the_real_command_reads(service: Any) -> None:
    known = {variable for key in all_keys() for variable in key.variables}
    assert {name for name in service["environment"] if name.startswith("MIRRORMEND_")} <= known


def test_composed_it_is_not_killed_before_requests_in_flight_are_done(service: Any) -> None:
    assert int(service["stop_grace_period"].removesuffix("s")) > seconds_to_end(settings_of_the_container().server)


def test_a_pod_is_not_killed_before_requests_in_flight_are_done() -> None:
    pod = yaml.safe_load((ROOT / "docker/sidecar/kubernetes-pod.yaml").read_text(encoding="utf-8"))
    assert pod["spec"]["terminationGracePeriodSeconds"] > seconds_to_end(settings_of_the_container().server)


def test_the_documents_say_when_a_process_that_was_told_to_end_has_ended() -> None:
    server = settings_of_the_container().server
    besides = seconds_to_end(server) - server.notice - server.drain
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"`notice` + `drain` + {besides:.0f} s after the first signal, {seconds_to_end(server):.0f} s with the defaults" in operations


def test_what_is_not_asked_for_is_not_started(composed: Any) -> None:
    profiles = {name: each.get("profiles") for name, each in composed["services"].items()}
    assert {name for name, profile in profiles.items() if profile is None} == {"mirrormend", "redis"}
    assert {name for name, profile in profiles.items() if profile == ["demo"]} == {"broken-mirror"}
    assert {name for name, profile in profiles.items() if profile == ["monitoring"]} == {"prometheus", "grafana"}


def test_what_watches_it_asks_where_it_listens(composed: Any, service: Any) -> None:
    scraped = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    (target,) = [target for job in scraped for each in job["static_configs"] for target in each["targets"]]
    assert target == f"mirrormend:{last_stage()['EXPOSE']}"
    source = yaml.safe_load((ROOT / "docker/grafana/datasource.yml").read_text(encoding="utf-8"))["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    mounted = dict(volume.split(":")[:2] for volume in composed["services"]["grafana"]["volumes"])
    dashboards = yaml.safe_load((ROOT / "docker/grafana/dashboards.yml").read_text(encoding="utf-8"))["providers"][0]["options"]["path"]
    assert str(PurePosixPath(mounted["./docker/grafana-dashboard.json"]).parent) == dashboards


@pytest.mark.parametrize(("schema", "file"), [("gitlab-ci", "gitlab-ci.yml"), ("github-workflows", "github-actions.yml")])
def test_the_sidecars_of_ci_services_are_what_these_services_read(schema: str, file: str) -> None:
    assert valid(schema, f"docker/sidecar/{file}")


def test_the_sidecar_of_a_pod_is_what_kubernetes_reads() -> None:
    pod = yaml.safe_load((ROOT / "docker/sidecar/kubernetes-pod.yaml").read_text(encoding="utf-8"))
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("file", ["kubernetes-pod.yaml", "gitlab-ci.yml", "github-actions.yml"])
def test_every_sidecar_sends_uv_to_the_proxy_and_names_variables_that_the_real_command_reads(file: str) -> None:
    text = (ROOT / "docker/sidecar" / file).read_text(encoding="utf-8")
    known = {variable for key in all_keys() for variable in key.variables}
    assert set(re.findall(r"MIRRORMEND_[A-Z_]+", text)) <= known
    assert re.search(r"UV_DEFAULT_INDEX(?:: |\n +value: )http://(?:127\.0\.0\.1|mirrormend):8080/simple/", text)


def valid(schema: str, file: str) -> bool:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(ROOT / file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return True
