"""The files for Prometheus and Grafana ask for what mirrormend tells, and the alerts rise when they should."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from proxy.server.siblings import Siblings
from proxy.store import BackendState
from tests.__main__ import ROOT
from tests.conftest import MakeClient
from tests.faults import artifactory_404
from tests.mirror import BrokenMirror

DOCKER = ROOT / "docker"
_OURS = re.compile(r"\b(?:mirrormend|process|python)_[a-z_]+\b")
_SELECTED = re.compile(r"([a-z_]+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_OF_THE_SCRAPE = {"job", "instance", "le", "version"}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",), "unknown": ("",)}


@dataclass(frozen=True)
class Asked:
    """An expression, and who asks for it."""

    by: str
    expression: str


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((DOCKER / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in rules["groups"] for rule in group["rules"]]


def dashboard() -> Any:
    return json.loads((DOCKER / "grafana-dashboard.json").read_text(encoding="utf-8"))


def asked() -> Iterator[Asked]:
    for rule in alerts():
        yield Asked(rule["alert"], rule["expr"])
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield Asked(panel["title"], target["expr"])
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield Asked(variable["name"], variable["definition"])


@pytest.fixture
async def told(mirror: BrokenMirror, app_client: MakeClient, tmp_path: Path) -> dict[str, set[str]]:
    """The names that /metrics has, and the labels of each, after all kinds of things happened."""
    mirror.add("demo-1.0-py3-none-any.whl")
    mirror.add("demo-1.0-cp312-cp312-macosx_11_0_arm64.whl")
    mirror.fault("*macosx*", artifactory_404())
    client = await app_client()
    for path in ("/simple/demo/", "/files/demo/demo-1.0-py3-none-any.whl", "/files/demo/demo-1.0-py3-none-any.whl.metadata", "/readyz"):
        await (await client.get(path)).read()
    text = await (await client.get("/metrics")).text()
    found: dict[str, set[str]] = {}
    # One of several workers tells these besides; their label on all else is of no matter here.
    of_workers = await Siblings(tmp_path, number=1, count=2).numbers(CollectorRegistry())
    for family in (*text_string_to_metric_families(text), *of_workers.collect()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("each", [pytest.param(each, id=each.by) for each in asked()])
async def test_what_is_asked_for_is_told(each: Asked, told: dict[str, set[str]]) -> None:
    names = set(_OURS.findall(each.expression))
    assert names <= told.keys() | {"mirrormend"}, names - told.keys()
    for name, matchers in _SELECTED.findall(each.expression):
        if name in told:
            labels = set(_LABEL.findall(re.sub(r'"[^"]*"', '""', matchers)))
            assert labels <= told[name] | _OF_THE_SCRAPE, (name, labels - told[name])
    for grouping in re.findall(r"\bby \(([^)]*)\)", each.expression):
        known = set().union(*(told[name] for name in names if name in told)) | _OF_THE_SCRAPE
        assert {label.strip() for label in grouping.split(",")} <= known


@pytest.mark.parametrize("each", [pytest.param(each, id=each.by) for each in asked()])
def test_words_in_expressions_are_words_of_the_code(each: Asked) -> None:
    said = dict(re.findall(r'\b(route|outcome|state|source|cause|result|about)=~?"([^"$]*)"', each.expression))
    known = {
        "route": {"page", "file", "metadata", "list", "health"},
        "outcome": {"failed", "stale", "401", "403", "407", "429"},
        "state": {state.value for state in BackendState},
        "source": {"copy", "wheel", "another-file", "sdist", "none"},
        "result": {"hit", "miss"},
        "about": {"page", "probe", "file"},
    }
    for label, words in said.items():
        assert set(words.split("|")) <= known[label], (label, words)


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in alerts()])
def test_every_alert_says_what_is_seen_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("Mirrormend")
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(len(text) > 20 for text in rule["annotations"].values())
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert rule["alert"] in operations, "docs/operations.md tells of every alert"


async def test_every_number_is_told_of_in_the_documents(told: dict[str, set[str]]) -> None:
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(mirrormend_[a-z_]+)", operations)) | {"mirrormend_event_loop_lag_worst_seconds"}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told if name.startswith("mirrormend_")}
    assert {name for name in families if not name.startswith("mirrormend_store_")} <= named


def test_prometheus_asks_the_service_of_the_compose_file_by_the_name_that_the_alerts_know() -> None:
    settings = yaml.safe_load((DOCKER / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = settings["scrape_configs"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert job["job_name"] == "mirrormend"
    assert [target.partition(":")[0] for static in job["static_configs"] for target in static["targets"]] == ["mirrormend"]
    assert "mirrormend" in services
    assert all((DOCKER / name).exists() for name in settings["rule_files"])


def test_the_dashboard_is_whole() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    taken = {
        (x, y) for place in places for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    }
    assert len(taken) == sum(place["w"] * place["h"] for place in places), "no panel lies on another"
    questions = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert questions == ["Does it work?", "Is it as fast as before?", "What is dropped?", "How is the mirror?", "Resources"]
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels for target in panel.get("targets", ()))
    used = set(re.findall(r"\$(?!__)\{?(\w+)", json.dumps(dashboard())))
    assert used == variables


def promtool(*words: str) -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("promtool is not installed: apt-get install prometheus")
    done = subprocess.run([found, *words], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules_and_its_settings() -> None:
    promtool("check", "config", "docker/prometheus.yml")


def test_prometheus_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    plain = [re.sub(r"\$__(?:rate_interval|range)", "5m", expression) for expression in expressions]
    rules = {"groups": [{"name": "panels", "rules": [{"record": f"panel:{at}", "expr": each} for at, each in enumerate(plain)]}]}
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")
    promtool("check", "rules", "--lint=none", str(file))


UP, DOWN, GROWS = "1x60", "0x60", "0+60x60"
"""Values once a minute: always 1, always 0, and a counter that grows by one a second."""

REPLICA = 'job="mirrormend", instance="one:8080"'
MIRROR = f'{REPLICA}, upstream="default"'
_PAGES = f'mirrormend_requests_total{{{MIRROR}, route="page", outcome="as-is", status="200"}}'
_FAILED = f'mirrormend_requests_total{{{MIRROR}, route="page", outcome="timeout", status="504"}}'
_ANSWERS = f"mirrormend_upstream_requests_total{{{MIRROR}, outcome="


def took(bound: str) -> dict[str, str]:
    """Pages of which each took as long as this bucket says, one a second."""
    bounds = ("1.0", "5.0", "10.0", "30.0", "+Inf")
    reached = bounds.index(bound)
    return {
        f'mirrormend_request_duration_seconds_bucket{{{REPLICA}, route="page", le="{each}"}}': GROWS if at >= reached else DOWN
        for at, each in enumerate(bounds)
    }


CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "MirrormendDown": ({f"up{{{REPLICA}}}": DOWN}, {f"up{{{REPLICA}}}": UP}),
    "MirrormendMirrorDown": (
        {f"mirrormend_upstream_up{{{MIRROR}}}": DOWN, f'{_ANSWERS}"timeout"}}': "0+2x60"},
        # One failure in the night, and nobody asked since.
        {f"mirrormend_upstream_up{{{MIRROR}}}": DOWN, f'{_ANSWERS}"timeout"}}': "0x20 1x40"},
    ),
    "MirrormendMirrorFlaps": (
        {f"mirrormend_breaker_open{{{MIRROR}}}": " ".join(["0 0 1"] * 20)},
        {f"mirrormend_breaker_open{{{MIRROR}}}": "0x30 1 0x30"},
    ),
    "MirrormendStorm": ({f"mirrormend_storm{{{MIRROR}}}": "0x10 1x50"}, {f"mirrormend_storm{{{MIRROR}}}": "0x40 1x3 0x20"}),
    "MirrormendErrors": ({_PAGES: GROWS, _FAILED: "0+10x60"}, {_PAGES: GROWS, _FAILED: "0+1x60"}),
    "MirrormendSlow": (took("30.0"), took("5.0")),
    "MirrormendReleasesLost": (
        {f"mirrormend_releases_lost_total{{{MIRROR}}}": "0x30 2x30"},
        {f"mirrormend_releases_lost_total{{{MIRROR}}}": "7x60"},
    ),
    "MirrormendCredentialsRefused": (
        {f'{_ANSWERS}"200"}}': "100x60", f'{_ANSWERS}"401"}}': GROWS},
        {f'{_ANSWERS}"200"}}': GROWS, f'{_ANSWERS}"401"}}': "0+10x60"},
    ),
    "MirrormendAskedTooMuch": ({f'{_ANSWERS}"429"}}': "0+30x60"}, {f'{_ANSWERS}"429"}}': "0x30 2x30"}),
    "MirrormendStoreAway": (
        {f'mirrormend_store_backend{{{REPLICA}, state="away"}}': UP, f'mirrormend_store_backend{{{REPLICA}, state="ready"}}': DOWN},
        {f'mirrormend_store_backend{{{REPLICA}, state="away"}}': DOWN, f'mirrormend_store_backend{{{REPLICA}, state="absent"}}': UP},
    ),
    "MirrormendStoreLoses": (
        {f"mirrormend_store_lost_documents_total{{{REPLICA}}}": "0x30 5x30"},
        {f"mirrormend_store_lost_documents_total{{{REPLICA}}}": "5x60"},
    ),
    "MirrormendBusy": (
        {f"mirrormend_event_loop_lag_worst_seconds{{{REPLICA}}}": "2x60"},
        {f"mirrormend_event_loop_lag_worst_seconds{{{REPLICA}}}": "0.1x35 2 2 0.1x30"},
    ),
    "MirrormendWorkerDown": (
        {f'mirrormend_worker_up{{{REPLICA}, worker="1"}}': UP, f'mirrormend_worker_up{{{REPLICA}, worker="2"}}': "1x30 0x30"},
        {f'mirrormend_worker_up{{{REPLICA}, worker="1"}}': UP, f'mirrormend_worker_up{{{REPLICA}, worker="2"}}': "1x39 0x3 1x20"},
    ),
    "MirrormendFileDescriptors": (
        {f"process_open_fds{{{REPLICA}}}": "900x60", f"process_max_fds{{{REPLICA}}}": "1024x60"},
        {f"process_open_fds{{{REPLICA}}}": "90x60", f"process_max_fds{{{REPLICA}}}": "1024x60"},
    ),
    "MirrormendReloadFailed": (
        {f'mirrormend_reloads_total{{{REPLICA}, outcome="failed"}}': "0x40 1x20"},
        {
            f'mirrormend_reloads_total{{{REPLICA}, outcome="failed"}}': "1x60",
            f'mirrormend_reloads_total{{{REPLICA}, outcome="done"}}': "0+1x60",
        },
    ),
}


def firing(tmp_path: Path, alert: str, series: dict[str, str], count: int) -> None:
    """Fails unless so many of this alert, and none of any other, are firing after 44 minutes of `series`."""
    expectations = [
        (f"count(ALERTS{{alertstate='firing', alertname='{alert}'}})", count),
        (f"count(ALERTS{{alertstate='firing', alertname!='{alert}'}})", 0),
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": "44m", "exp_samples": [{"labels": "{}", "value": number}] if number else []}
            for expression, number in expectations
        ],
    }
    file = tmp_path / "test.yml"
    content = {"rule_files": [str(DOCKER / "alerts.yml")], "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_an_alert_rises_when_it_should_and_at_no_other_time(alert: str, tmp_path: Path) -> None:
    bad, fair = CASES[alert]
    firing(tmp_path, alert, bad, 1)
    firing(tmp_path, alert, fair, 0)
