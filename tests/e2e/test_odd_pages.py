"""Pages with values that the real uv refuses to read: through the proxy it reads every one of them."""

import json
from pathlib import Path
from typing import Any

from tests.clients import ProxyProcess, Uv, write_project
from tests.mirror import BrokenMirror

JSON = "application/vnd.pypi.simple.v1+json"
ODD_ENTRIES: list[dict[str, Any]] = [
    {"upload-time": "yesterday"},
    {"upload-time": "2024-01-02"},
    {"upload-time": "2024-01-02T03:04:05"},
    {"upload-time": "2024-02-30T00:00:00Z"},
    {"upload-time": "9999-12-31T23:59:59Z"},
    {"upload-time": "2024-01-02 03:04:05+00:00"},
    {"upload-time": None},
    {"size": 2**64},
    {"size": 1e30},
    {"size": -1},
    {"size": None},
    {"hashes": None},
    {"hashes": {"blake2b": "a" * 128}},
    {"hashes": {"sha256": "short"}},
    {"requires-python": "nonsense"},
    {"yanked": None},
    {"core-metadata": {"sha256": "short"}},
    {"core-metadata": None},
]
ODD_STATUSES: list[Any] = ["archived", None, 3, {"status": None}, {"status": "active", "reason": 1}]


async def test_no_value_of_an_entry_or_of_a_page_makes_uv_refuse_it(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    wanted = []
    for number, odd in enumerate(ODD_ENTRIES):
        mirror.add(f"entry{number}-1.0-py3-none-any.whl")
        mirror.add(f"entry{number}-2.0-py3-none-any.whl", extra=odd)
        wanted.append(f"entry{number}==1.0")
    for number, status in enumerate(ODD_STATUSES):
        listed = mirror.add(f"status{number}-1.0-py3-none-any.whl")
        page = json.loads(mirror.projects[f"status{number}"].page(JSON).body)
        assert page["files"][0]["filename"] == listed.filename
        mirror.set_page(f"status{number}", json.dumps({**page, "project-status": status}).encode(), JSON)
        wanted.append(f"status{number}")
    project = write_project(tmp_path / "project", wanted)
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        locked = await uv.lock(project, proxy.simple)
    assert locked.ok, locked
    assert len(locked.packages) == len(wanted)
