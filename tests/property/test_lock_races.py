"""Two runs of `mirrormend lock` for one project, at random moments, with uv as it comes and with runs that are killed.

Whatever happens, the lock is the old one or a new one that names the mirror.
"""

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.clients import clean_environment, run_command, write_project
from tests.fake_uv import locked
from tests.mirror import BrokenMirror
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
OLD = "1.0"
ENDS = ("succeeds", "fails before", "fails after", "killed half way", "killed at the end")


@dataclass(frozen=True)
class Run:
    """When it starts, how its uv ends, and whether, by which signal and how long after the start of its uv it is killed itself."""

    starts: float
    ends: str
    pauses: tuple[float, float]
    ending: signal.Signals | None
    after: float
    waits_for_uv: bool


pauses = st.sampled_from([0.0, 0.02, 0.1, 0.3])
runs = st.builds(
    Run,
    st.sampled_from([0.0, 0.05, 0.4, 0.8]),
    st.sampled_from(ENDS),
    st.tuples(pauses, pauses),
    st.sampled_from([None, None, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]),
    st.sampled_from([0.0, 0.01, 0.03, 0.1, 0.25, 0.5]),
    st.booleans(),
)


unhurried = Run(0.8, "fails before", (0.0, 0.0), None, 0.0, waits_for_uv=False)


def killed_while_uv(*, waits: int) -> Run:
    return Run(0.0, "succeeds", (1.0, 0.0) if waits == 0 else (0.0, 1.0), signal.SIGKILL, 0.3, waits_for_uv=True)


async def carry_out(run: Run, version: str, project: Path, environment: dict[str, str]) -> int:
    marker = project.parent / f"uv-of-{version}"
    plan = {"version": version, "ends": run.ends, "pauses": run.pauses, "marker": str(marker)}
    await asyncio.sleep(run.starts)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "lock"),
        env=environment | {"FAKE_UV": json.dumps(plan)},
        cwd=project,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if run.ending is not None:
        if run.waits_for_uv:
            await until(lambda: process.returncode is not None or marker.exists(), within=60)
        await asyncio.sleep(run.after)
        if process.returncode is None:
            os.kill(process.pid, run.ending)
    return await process.wait()


async def race(both: tuple[Run, Run], *, with_old: bool, folder: Path) -> None:
    async with BrokenMirror() as mirror:
        versions = (OLD, "2.0", "3.0")
        for version in versions:
            mirror.add(f"storm-{version}-py3-none-any.whl")
        simple = f"{mirror.url.rstrip('/')}/"
        project = write_project(folder / "project", ["storm"], extra=f'\n[[tool.uv.index]]\nurl = "{simple}"\ndefault = true\n')
        good = {version: re.sub(rb'url = "[^"]*"', f'url = "{mirror.file_url(f"storm-{version}-py3-none-any.whl")}"'.encode(),
                                locked(version, simple, "")) for version in versions}  # fmt: skip
        lock = project / "uv.lock"
        if with_old:
            lock.write_bytes(good[OLD])
        programs = folder / "bin"
        programs.mkdir()
        (programs / "uv").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {ROOT}/tests/fake_uv.py "$@"\n', encoding="utf-8")
        (programs / "uv").chmod(0o755)
        environment = clean_environment(folder / "home")
        environment |= {"PATH": f"{programs}:{environment['PATH']}", "PYTHONPATH": str(ROOT), "MIRRORMEND_STORE": "memory"}
        statuses = await asyncio.gather(
            *(carry_out(run, version, project, environment) for run, version in zip(both, versions[1:], strict=True))
        )
        # It waits for what is restored after a kill.
        checked = await run_command([sys.executable, "-m", "proxy", "lock", "--check"], environment, project)
        now = lock.read_bytes() if lock.exists() else None
        allowed = {good[OLD] if with_old else None, *(good[version] for version in versions[1:])}
        assert now in allowed, (statuses, now)
        assert checked.returncode == (1 if now is None else 0), checked
        succeeded = [version for version, status in zip(versions[1:], statuses, strict=True) if status == 0]
        cut_off = [version for version, run in zip(versions[1:], both, strict=True) if run.ending is not None]
        assert not succeeded or now in {good[version] for version in (*succeeded, *cut_off)}, (statuses, now)
        if not succeeded and not any(run.ending for run in both):
            assert now == (good[OLD] if with_old else None)
        for run, status in zip(both, statuses, strict=True):
            if run.ending is None:
                assert (
                    status
                    == {"succeeds": 0, "fails before": 1, "fails after": 2, "killed half way": 137, "killed at the end": 143}[run.ends]
                )
        assert {each.name for each in project.iterdir()} <= {"pyproject.toml", "uv.lock"}


# Each example takes seconds: to make a failing one smaller would take minutes.
@settings(max_examples=10, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.tuples(runs, runs), st.booleans())
# The lock names the proxy while uv waits, and half of it is written while it waits for the second time.
@example((killed_while_uv(waits=0), unhurried), True)
@example((killed_while_uv(waits=1), unhurried), True)
@example((killed_while_uv(waits=1), unhurried), False)
def test_however_two_runs_race_the_lock_is_the_old_one_or_a_good_new_one(both: tuple[Run, Run], with_old: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(race(both, with_old=with_old, folder=Path(folder)))
