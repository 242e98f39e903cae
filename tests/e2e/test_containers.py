"""What the containers run, run here: the services of the compose file as processes, and the image built without an engine."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis

from tests.__main__ import ROOT
from tests.clients import Uv, free_port, reachable, write_project
from tests.test_docker import instructions


@pytest.fixture
def services() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Gives `start(command, **variables)`: a process that is ended with the test."""
    processes = []

    def start(command: list[str], variables: Mapping[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MIRRORMEND_")}
        processes.append(subprocess.Popen(command, cwd=tmp_path, env={**inherited, "PYTHONPATH": str(ROOT), **variables}))

    yield start
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


async def test_the_services_of_the_demo_profile_mend_a_lock_and_remember_it_in_redis(
    services: Any, start: Callable[..., None], uv: Uv, tmp_path: Path
) -> None:
    ports = {"redis:6379": free_port(), "broken-mirror:8081": free_port(), "0.0.0.0:8081": 0, "0.0.0.0:8080": free_port()}
    ports["0.0.0.0:8081"] = ports["broken-mirror:8081"]

    def here(text: str) -> str:
        for place, port in ports.items():
            text = text.replace(place, f"127.0.0.1:{port}")
        return text

    image = dict(word.split("=", 1) for name, rest in instructions() if name == "ENV" for word in rest.split() if "MIRRORMEND_" in word)
    given = services["mirrormend"]["environment"]
    upstream = "http://broken-mirror:8081/artifactory/api/pypi/pypi/simple"
    assert upstream in (ROOT / "docker-compose.yml").read_text(encoding="utf-8"), "what is told to be set for the demo"
    variables = {**image, **{name: value for name, value in given.items() if value}, "MIRRORMEND_UPSTREAM": upstream}

    redis = shlex.split(services["redis"]["command"].replace("/data", str(tmp_path)))
    start([*redis, "--port", str(ports["redis:6379"]), "--bind", "127.0.0.1"], {})
    start([sys.executable, "-m", "proxy", *shlex.split(here(services["broken-mirror"]["command"]))], {})
    ours = {name: here(value) for name, value in variables.items() if name.startswith("MIRRORMEND_")}
    start([sys.executable, "-m", "proxy", "serve"], ours)
    await reachable(*set(ports.values()))

    project = write_project(tmp_path / "project", ["weathervane"])
    locked = await uv.lock(project, f"http://127.0.0.1:{ports['0.0.0.0:8080']}/simple/")
    assert locked.ok, locked
    assert locked.packages["stormwind"] == "6.4.2"
    assert not any("macosx_10_9_universal2" in name and "6.4.2" in name for name in locked.files)
    with Redis(port=ports["redis:6379"]) as remembered:
        assert list(remembered.scan_iter("*stormwind*"))


@pytest.mark.timeout(1500)
def test_the_image_is_built_step_by_step_in_a_clean_root_and_keeps_its_promises() -> None:
    """It takes some minutes, root, buildah and debootstrap: all of which CI has."""
    ready = os.geteuid() == 0 and all(map(shutil.which, ("buildah", "debootstrap")))
    if not ready and not os.environ.get("CI"):
        pytest.skip("root, buildah and debootstrap are needed")
    done = subprocess.run([sys.executable, ROOT / "docker" / "check.py"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"
