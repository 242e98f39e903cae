"""The real clients take what the stand-in gives them, and leave everything else of the machine alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients import Pip, ProxyProcess, Uv, run_command, write_project
from tests.mirror import BrokenMirror, cut
from tests.wheels import make_sdist


async def test_uv_locks_and_installs_wheels_and_sdists(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    built = tmp_path / "built"
    mirror.add("demo_app-1.0-py3-none-any.whl", requires_python=">=3.8")
    mirror.add("from-source-2.0.tar.gz", make_sdist("from-source-2.0.tar.gz", requires_dist=["demo-app"], touch=built))
    project = write_project(tmp_path / "project", ["from-source"])
    locked = await uv.lock(project, mirror.url)
    assert locked.ok, locked
    assert locked.packages == {"from-source": "2.0", "demo-app": "1.0"}
    assert not built.exists(), "static metadata of an sdist needs no build"
    assert locked.files == {name: mirror.file_url(name) for name in ("demo_app-1.0-py3-none-any.whl", "from-source-2.0.tar.gz")}
    synced = await uv.sync(project, mirror.url, "--frozen")
    assert synced.ok, synced
    assert built.exists()
    ran = await uv.run("run", "--no-sync", "python", "-c", "import demo_app, from_source; print(from_source.__version__)", cwd=project)
    assert ran.stdout.strip() == "2.0"


async def test_uv_builds_an_sdist_whose_metadata_is_dynamic(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    built = tmp_path / "built"
    sdist = make_sdist("demo-1.0.tar.gz", requires_dist=["other"], dynamic=["Requires-Dist"], touch=built)
    mirror.add("demo-1.0.tar.gz", sdist)
    mirror.add("other-3.0-py3-none-any.whl")
    locked = await uv.lock(write_project(tmp_path / "project", ["demo"]), mirror.url)
    assert locked.packages == {"demo": "1.0", "other": "3.0"}, locked
    assert built.exists()


async def test_uv_starts_anew_with_a_fresh_cache(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    project = write_project(tmp_path / "project", ["demo"])
    for cached in (False, True, False):
        mirror.forget()
        assert (await uv.lock(project, mirror.url, "--upgrade")).ok
        assert ["If-None-Match" in each.headers for each in mirror.asked_for("page:demo")] == [cached]
        if cached:
            uv.fresh_cache()


async def test_pip_installs_wheels_and_sdists(mirror: BrokenMirror, pip: Pip) -> None:
    mirror.forms = {"html"}
    mirror.add("demo-1.0-py3-none-any.whl")
    mirror.add("from-source-2.0.tar.gz", make_sdist("from-source-2.0.tar.gz", requires_dist=["demo"]))
    installed = await pip.install(mirror.url, "from-source")
    assert installed.ok, installed
    listed = await pip.run("freeze")
    assert listed.stdout.split() == ["demo==1.0", "from-source==2.0"]


async def test_a_client_sees_the_fault(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    mirror.fault("page:demo", cut())
    project = write_project(tmp_path / "project", ["demo"])
    locked = await uv.lock(project, mirror.url, UV_HTTP_RETRIES="0")
    assert not locked.ok
    assert locked.packages == {}


async def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    done = await run_command(["sleep", "60"], {"PATH": os.environ["PATH"]}, tmp_path, timeout=0.1)
    assert done.returncode < 0


def test_nothing_of_the_machine_reaches_a_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("UV_INDEX_URL", "PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "NETRC", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "something")
    environment = Uv(tmp_path).environment
    assert "something" not in environment.values()
    assert environment["HOME"].startswith(str(tmp_path))


async def test_the_proxy_runs_as_a_process_of_its_own(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.add("demo-1.0-py3-none-any.whl")
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        locked = await uv.lock(write_project(tmp_path / "project", ["demo"]), proxy.simple)
        assert locked.packages == {"demo": "1.0"}, locked
        assert await proxy.stop() == 0
    assert any(line.get("event") == "request" for line in proxy.log)


async def test_a_proxy_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="did not start"):
        async with ProxyProcess("no address", tmp_path):
            pass


def test_programs_that_tests_start_hear_ctrl_c_even_if_the_tests_do_not(tmp_path: Path) -> None:
    test = tmp_path / "test_child.py"
    asks = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    test.write_text(
        "import subprocess, sys\nfrom tests.conftest import _children_hear_ctrl_c\n\n"
        "def test_child():\n"
        f"    said = subprocess.run([sys.executable, '-c', {asks!r}], capture_output=True, text=True)\n"
        "    assert said.stdout.strip() == 'True'\n",
        encoding="utf-8",
    )
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "pytest", "-q", "--no-cov", "-p", "no:cacheprovider", "-c", str(root / "pyproject.toml"), str(test)]
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    done = subprocess.run(ignoring, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
