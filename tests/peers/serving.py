"""Other people's servers as processes of their own, and nginx, which stands behind some of them and before others."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients import clean_environment

NOWHERE = "http://127.0.0.1:9"
"""Where programs are sent that want to talk to other machines."""

_STARTED_WITHIN = 60.0


def free_port() -> int:
    """Gives a loopback port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def offline(folder: Path) -> dict[str, str]:
    """Gives an environment with a home below `folder`, in which programs that heed proxies reach loopback only."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    return clean_environment(folder / "home") | proxies | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@contextmanager
def running(command: Sequence[str | Path], port: int, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Runs a server while the block does, and waits until it listens at `port`; what it says goes to a file in `folder`."""
    log = folder / f"{Path(command[0]).name}-{port}.log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [str(each) for each in command],
            cwd=folder,
            env=offline(folder) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(process, port, log)
        yield
    finally:
        # Nothing of it is needed any more, and some take their time to end in peace.
        process.kill()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"{log.stem} did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")


def run_once(command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command that has to end well, in `folder`; it has to know by itself where not to go. Gives what it said."""
    environment = clean_environment(folder / "home")
    done = subprocess.run(
        [str(each) for each in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done
    return done


def nginx(folder: Path, port: int, http: str, server: str) -> list[str]:
    """Gives the command that runs nginx in the foreground; `http` and `server` are directives for these blocks."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if found is None:
        # Never skipped: what stands behind most mirrors has to be seen working.
        pytest.fail("nginx is not installed, and these tests need it (Debian, Ubuntu: apt install nginx-light)")
    temporary = "".join(f"{each}_temp_path {folder}/temporary;\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / f"nginx-{port}.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx-{port}.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{http}\nserver {{\nlisten 127.0.0.1:{port};\n{server}\n}}\n}}\n",
        encoding="utf-8",
    )
    return [found, "-e", "stderr", "-p", str(folder), "-c", str(config)]
