"""What a newcomer sees: the demo, run as the command that it is."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from proxy.demo.locking import find_uv

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "http://127.0.0.1:9"
WHEEL = "stormwind-6.4.2-cp39-abi3-macosx_10_9_universal2.whl"
# Where the tests run, uv is installed beside Python, and the demo would find it.
WITH_ANOTHER_UV = "from proxy.cli import main; from proxy.demo import show; show.find_uv = lambda: {!r}; main(['demo'])"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.Popen[str]]:
    """Gives `start(*options, **variables)`: the demo as a process, whose temporary files go to `tmp_path`."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def start(*options: str, code: str = "", **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", *(["-c", code] if code else ["-m", "proxy", "demo", *options])]
        environment = os.environ | {"PYTHONWARNINGS": "error"} | variables
        return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return start


def left_over(folder: Path) -> list[str]:
    return [each.name for each in folder.glob("mirrormend-demo-*")]


def too_long(out: str) -> list[str]:
    return [line for line in out.splitlines() if len(line) > 100]


def told(process: subprocess.Popen[str], until: str) -> str:
    assert process.stdout is not None
    said = ""
    while until not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


def test_the_lock_fails_at_the_mirror_and_works_through_the_proxy_and_both_are_shown(start: Callable[..., Any], tmp_path: Path) -> None:
    out, err = (process := start()).communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    direct, through, mended = re.split(r"^(?:1\. uv asks.*|2\. uv asks.*|What was mended)\n-+\n", out, flags=re.MULTILINE)[1:]
    assert "404 Not Found" in direct
    assert WHEEL in direct
    assert "=> FAILED in" in direct
    assert "the macOS one" in direct
    assert "=> locked stormwind 6.4.2 in" in through
    assert f"Dropped from the page:\n  {WHEEL}\nbecause the mirror, asked for it, says:\n  404 " in mended
    assert re.search(r"^files on the page +10 +9$", mended, flags=re.MULTILINE)
    assert re.search(r"^not delivered +1 +0$", mended, flags=re.MULTILINE)
    assert "  Mirrormend-Dropped: 1; absent=1\n" in mended
    assert too_long(out) == []
    assert left_over(tmp_path) == []


def test_settings_and_proxies_of_the_machine_do_not_reach_the_demo(start: Callable[..., Any]) -> None:
    variables = {"HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE, "UV_OFFLINE": "1", "UV_INDEX_URL": NOWHERE, "MIRRORMEND_UPSTREAM": NOWHERE}
    out, err = (process := start(**variables)).communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "=> locked stormwind 6.4.2" in out


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_what_is_kept_can_be_looked_at_and_leaves_nothing_behind(start: Callable[..., Any], tmp_path: Path, ending: signal.Signals) -> None:
    process = start("--keep")
    try:
        said = told(process, "an installation")
        pages = re.findall(r"page +curl (?:-i )?(\S+)", said)
        assert len(pages) == 2
        listed = []
        for url in pages:
            with urlopen(url, timeout=10) as response:  # noqa: S310 - the demo prints http addresses only
                listed.append(WHEEL in response.read().decode())
        assert listed == [True, False]
        status = re.search(r"status page +(http://\S+/)\n", said)
        assert status is not None
        with urlopen(status[1], timeout=10) as response:  # noqa: S310 - as above
            assert WHEEL in response.read().decode()
        assert len(left_over(tmp_path)) == 1
        process.send_signal(ending)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (0, "")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_ended_in_the_middle_it_leaves_nothing_behind(
    start: Callable[..., Any], tmp_path: Path, ending: signal.Signals, status: int
) -> None:
    hanging, pid = tmp_path / "uv", tmp_path / "pid"
    hanging.write_text(f"#!/bin/sh\necho $$ > '{pid}.part'; mv '{pid}.part' '{pid}'; exec sleep 60\n", encoding="ascii")
    hanging.chmod(0o755)
    process = start(code=WITH_ANOTHER_UV.format(str(hanging)))
    try:
        told(process, "1. uv asks")
        deadline = time.monotonic() + 10
        while not pid.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(ending)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err.strip()) == (status, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text(encoding="ascii")), 0)
    assert left_over(tmp_path) == []


def test_without_uv_the_pages_are_compared_and_it_is_said_how_to_get_uv(start: Callable[..., Any], tmp_path: Path) -> None:
    out, err = (process := start(code=WITH_ANOTHER_UV.format(None))).communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "pip install uv" in out
    assert "uv lock " not in out
    assert f"  dropped  {WHEEL}\n" in out
    assert out.count("  kept     stormwind-") == 9
    assert left_over(tmp_path) == []
    assert too_long(out) == []


def test_uv_beside_python_is_taken_before_the_one_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    beside, elsewhere = tmp_path / "venv" / "uv", tmp_path / "bin" / "uv"
    for each in (beside, elsewhere):
        each.parent.mkdir()
        each.touch(0o755)
    monkeypatch.setattr(sys, "executable", str(beside.with_name("python")))
    monkeypatch.setenv("PATH", str(elsewhere.parent))
    assert find_uv() == str(beside)
    beside.unlink()
    assert find_uv() == str(elsewhere)
    elsewhere.unlink()
    assert find_uv() is None


def test_where_nothing_is_mended_the_demo_says_so_and_fails(start: Callable[..., Any]) -> None:
    code = "from proxy.demo import show; show.create_app = lambda _: show.create_mirror(); raise SystemExit(show.run(keep=False))"
    out, _ = (process := start(code=code)).communicate(timeout=60)
    assert process.returncode == 1, out
    assert out.count("=> FAILED in") == 2
    assert "was not mended" in out


def test_the_broken_mirror_can_be_had_alone_to_put_a_proxy_of_ones_own_before_it(start: Callable[..., Any]) -> None:
    process = start("--mirror", "127.0.0.1:0")
    said = told(process, "projects")
    simple = re.search(r"its simple API +(http://127\.0\.0\.1:\d+/\S+)", said)
    assert simple is not None
    with urlopen(f"{simple[1]}stormwind/") as page:  # noqa: S310 - an address of loopback
        assert WHEEL in page.read().decode()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize(("words", "why"), [(["nowhere"], "HOST:PORT"), (["127.0.0.1:0", "--keep"], "do not go together")])
def test_what_does_not_fit_is_said_in_one_line(start: Callable[..., Any], words: list[str], why: str) -> None:
    process = start("--mirror", *words)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert why in err
    assert err.count("\n") == 1
