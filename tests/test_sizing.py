"""The bounds that `docs/sizing.md` tells are those of the code."""

import inspect
import re
from collections.abc import Mapping

import pytest
import yaml

from proxy.config.sections import Settings
from proxy.core.verdict.budget import BUDGETS, Budget, MirrorKind
from proxy.index import projects
from proxy.server.access import doorkeeper, sign_in_queue
from proxy.store import Store
from proxy.upstream import pace
from proxy.upstream.client import DOWNLOADS
from tests.__main__ import ROOT

SIZING = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
SETTINGS = Settings.model_validate({"upstream": {"url": "https://mirror.example.com/simple/"}})
KINDS = {
    MirrorKind.NEXUS: "Nexus, devpi, CodeArtifact",
    MirrorKind.DEVPI: "Nexus, devpi, CodeArtifact",
    MirrorKind.CODEARTIFACT: "Nexus, devpi, CodeArtifact",
    MirrorKind.ARTIFACTORY: "Artifactory, unknown",
    MirrorKind.OTHER: "Artifactory, unknown",
    MirrorKind.AUTO: "Artifactory, unknown",
    MirrorKind.STATIC: "`static` (by configuration only)",
}


def rows() -> Mapping[str, list[str]]:
    """Return the cells of each row by what stands in its first one."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in SIZING.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in cells}


def megabytes(count: int) -> str:
    assert count % 2**20 == 0
    return f"{count // 2**30} GB" if count % 2**30 == 0 else f"{count // 2**20} MB"


def test_the_bounds_of_memory_and_disk_are_those_of_the_code() -> None:
    (memory,), (disk,) = rows()["memory"], rows()["disk"]
    pending = inspect.signature(Store).parameters["pending_limit"].default
    assert f"rendered bytes are bounded at {megabytes(projects._MEMORY)} for each mirror" in memory
    assert f"`[store] memory_limit`, {megabytes(SETTINGS.store.memory_limit)};" in memory
    assert f"about to be written at {megabytes(pending)}." in memory
    assert f"`[store] disk_limit`, {megabytes(SETTINGS.store.disk_limit)}" in disk


def test_the_bounds_together_fit_into_the_container_that_is_recommended() -> None:
    (memory,) = rows()["memory"]
    start = re.match(r"(\d+) MB resident at the start", memory)
    container = re.search(r"A container for a team: 1 core, (\d+) MB", SIZING)
    assert start is not None
    assert container is not None
    pending = inspect.signature(Store).parameters["pending_limit"].default
    bounds = projects._MEMORY + SETTINGS.store.memory_limit + pending
    assert int(start[1]) + bounds // 2**20 < int(container[1])


def test_the_sidecar_asks_for_what_is_told() -> None:
    pod = next(yaml.safe_load_all((ROOT / "docker" / "sidecar" / "kubernetes-pod.yaml").read_text(encoding="utf-8")))
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    asked = next(each["resources"] for each in containers if "resources" in each)
    assert asked == {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    assert "A sidecar: 0.1 core requested, 128 MB requested, 512 MB at most." in SIZING


def test_the_connections_are_those_of_the_code() -> None:
    (connections,) = rows()["connections"]
    assert connections.startswith(f"{pace.START} to {SETTINGS.probe.concurrency} to the mirror for probes, {DOWNLOADS} for downloads;")


def test_the_bounds_of_sign_ins_are_those_of_the_code() -> None:
    (sign_ins,) = rows()["sign-ins with a password"]
    patience, waiting = doorkeeper._PATIENCE, f"{sign_in_queue.WAITING_AT_MOST:,}"
    assert doorkeeper._YES_FOR == 5 * 60
    assert f"within the {patience:g} s for which a password waits" in sign_ins
    assert f"{waiting} may wait" in sign_ins
    rates = re.search(r"bound: (\d+) a second for each core at cost 10, (\d+) at cost 12;", sign_ins)
    users = re.search(r"(\d+) at cost 10 and (\d+) at cost 12 are in within", sign_ins)
    assert rates is not None
    assert users is not None
    assert [int(each) for each in users.groups()] == [int(each) * patience for each in rates.groups()]
    security = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    of_user, of_both = sign_in_queue.OF_ONE_USER, sign_in_queue.OF_ONE_USER_AND_CLIENT
    assert f"{waiting}, for {patience:g} s; {of_user} for one user, {of_both} for one user of one address |" in security
    assert f"they wait, for {patience:g} seconds at most" in security
    assert f"A client that goes away frees its place within {2 * doorkeeper._LOOK_FOR_GONE_EVERY:g} s." in security


@pytest.mark.parametrize("kind", MirrorKind)
def test_what_is_asked_of_a_kind_of_mirror_is_what_the_code_asks(kind: MirrorKind) -> None:
    probes, shared, regained, background = rows()[KINDS[kind]]
    asked: Budget = BUDGETS[kind]
    assert probes.startswith("all" if asked.probes is None else str(asked.probes))
    assert shared == ("all" if asked.shared is None else str(asked.shared))
    assert regained == ("at once" if asked.regained is None else f"{asked.regained:g} a second")
    assert background == ("as fast as it answers" if asked.rate is None else f"{asked.rate:g} a second" if asked.rate else "none")
