"""Builds the image without a Docker engine, and looks whether what comes out does its work.

    sudo python docker/check.py [--keep FOLDER]

buildah (`apt-get install buildah debootstrap`) takes the steps of docker/Dockerfile one by one, each in a chroot. As no registry of images
is asked, a fresh Debian with Python stands in for the base image. The settings of this machine's pip and its certificates are lent to the
build, since it installs from where this machine would. What is printed last is one line for each promise; the status is 0 where all hold.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

ROOT = Path(__file__).resolve().parent.parent
BASE = "docker.io/library/python:3.13-slim"
SUITE = "trixie"
"""The release of Debian whose Python is that of the base image."""

LENT = ("/etc/pip.conf", "/etc/ssl/certs", "/etc/resolv.conf")
WRITABLE = ("/var/lib/mirrormend", "/tmp", "/proc", "/sys", "/dev", "/run")
WORDS = ("buildah", "debootstrap")
ENVIRONMENT = {**os.environ, "BUILDAH_ISOLATION": "chroot"}


class Image:
    """The image in the making; all that it takes lies below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = ("--root", str(folder / "store"), "--runroot", str(folder / "run"))
        self._lent = [word for path in LENT if Path(path).exists() for word in ("-v", f"{path}:{path}:ro")]
        self.container = ""

    def buildah(self, *words: str, progress: bool = False) -> str:
        """Runs buildah and gives what it printed, with its `progress` where that is wanted."""
        command = ["buildah", *self._store, *words]
        errors = subprocess.STDOUT if progress else subprocess.PIPE
        done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{(done.stderr or '')[-4000:]}")
        return done.stdout

    def make_base(self) -> None:
        """Makes the stand-in for the base image: a minimal Debian with a Python that is called as it is there."""
        base = self._folder / "base"
        packages = "--include=python3,python3-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", packages, SUITE, str(base), _debian()]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (base / "usr/bin/python").symlink_to("python3")
        container = self.buildah("from", "-q", "scratch").strip()
        self.buildah("add", "-q", container, str(base), "/")
        self.buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", container)
        self.buildah("commit", "-q", "--format", "docker", container, BASE)
        self.buildah("rm", container)
        shutil.rmtree(base)

    def build(self) -> str:
        """Takes the steps of the Dockerfile and gives what was printed."""
        words = ("build", "--layers", "--pull-never", "--format", "docker", "--network", "host", *self._lent)
        return self.buildah(*words, "-f", "docker/Dockerfile", "-t", "mirrormend", ".", progress=True)

    def start(self) -> None:
        """Makes a container of the image."""
        self.container = self.buildah("from", "-q", "--pull-never", "mirrormend").strip()

    def config(self) -> dict[str, object]:
        """Gives what the image says of how it is run."""
        found: dict[str, object] = json.loads(self.buildah("inspect", "--type", "image", "mirrormend"))["Docker"]["config"]
        return found

    def sh(self, script: str, user: str = "") -> str:
        """Runs a line of shell in the container, as its own user where no other is named."""
        words = ["--user", user] if user else []
        return self.buildah("run", *words, self.container, "--", "sh", "-c", script)

    @contextmanager
    def running(self, *command: str) -> Iterator[None]:
        """Runs a command in the container meanwhile; it shares the network of this machine."""
        words = ["buildah", *self._store, "run", "--network", "host", self.container, "--", *command]
        process = subprocess.Popen(words, cwd=ROOT, env=ENVIRONMENT, stdout=sys.stderr)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def _debian() -> str:
    """Gives the Debian mirror that this machine installs from."""
    lines = [line for path in Path("/etc/apt").rglob("*.[ls][io][su]*") if path.is_file() for line in path.read_text().splitlines()]
    found = [re.match(r"(?:URIs:|deb(?: \[.*?\])?) +(https?://\S+/debian)/?(?: |$)", line) for line in lines]
    named = next((match[1] for match in found if match), None)
    if named is None:
        raise SystemExit("no Debian mirror is named below /etc/apt; this needs one to install from")
    return named


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answer(url: str, accept: str = "*/*") -> str:
    opener = build_opener(ProxyHandler({}))
    opener.addheaders = [("Accept", accept)]
    deadline = time.monotonic() + 30
    while True:
        try:
            with opener.open(url, timeout=5) as response:
                text: str = response.read().decode()
                return text
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def serves(image: Image) -> bool:
    """The image's command serves the mended page of a broken mirror."""
    mirror, port = _free_port(), _free_port()
    upstream = f"http://127.0.0.1:{mirror}/artifactory/api/pypi/pypi/simple/"
    ours = ("env", f"MIRRORMEND_UPSTREAM={upstream}", f"MIRRORMEND_LISTEN=127.0.0.1:{port}")
    with image.running("mirrormend", "demo", "--mirror", f"127.0.0.1:{mirror}"):
        listed = _answer(f"{upstream}stormwind/")
        with image.running(*ours, *_command(image)):
            mended = _answer(f"http://127.0.0.1:{port}/simple/stormwind/")
            healthy = "ok" in _answer(f"http://127.0.0.1:{port}/healthz")
    missing = "stormwind-6.4.2-cp39-abi3-macosx_10_9_universal2.whl"
    return healthy and missing in listed and missing not in mended


def _command(image: Image) -> list[str]:
    config = image.config()
    return [*config["Entrypoint"], *config["Cmd"]]  # type: ignore[misc]


def keeps_what_is_needed(image: Image) -> bool:
    """As long as pyproject.toml stays, building again after a change of the code installs nothing that is needed anew."""
    changed = ROOT / "proxy" / "py.typed"
    before = changed.read_bytes()
    try:
        changed.write_bytes(before + b"\n")
        said = image.build()
    finally:
        changed.write_bytes(before)
    steps = re.split(r"^\[\d/\d\] STEP ", said, flags=re.MULTILINE)
    needed = next(step for step in steps if "requirements.txt" in step)
    return "Using cache" in needed and not all("Using cache" in step for step in steps if "RUN" in step)


def writes_nowhere_else(image: Image) -> bool:
    """All that the process wrote lies where a read-only container lets it write."""
    places = " ".join(f"-path {path} -prune -o" for path in WRITABLE)
    return image.sh(f"find / -xdev {places} -user 10001 -print", user="root").strip() == ""


PROMISES: dict[str, Callable[[Image], bool]] = {
    "it serves a mended page": serves,
    "it does not run as root": lambda image: image.sh("id -u").strip() == "10001",
    "it can change nothing of itself": lambda image: "no" in image.sh("touch /opt/mirrormend/x 2>/dev/null || echo no"),
    "it wrote to its volume only": writes_nowhere_else,
    "it holds no compiler": lambda image: image.sh("command -v gcc cc make ld || true", user="root").strip() == "",
    "it holds no installer": lambda image: image.sh("ls /opt/mirrormend/bin | grep -c ^pip || true").strip() == "0",
    "it names its port, its volume and its health check": lambda image: {"ExposedPorts", "Volumes", "Healthcheck"} <= image.config().keys(),
    "building again installs only what changed": keeps_what_is_needed,
}


def check(folder: Path) -> bool:
    """Builds the image below `folder`, prints a line for each promise, and says whether all are kept."""
    image = Image(folder)
    image.make_base()
    image.build()
    image.start()
    kept = True
    for promise, holds in PROMISES.items():
        held = holds(image)
        print(f"{'ok' if held else 'FAILED':8}{promise}", flush=True)
        kept = kept and held
    return kept


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="build there, and leave it")
    words = parser.parse_args()
    missing = [word for word in WORDS if shutil.which(word) is None]
    if missing or os.geteuid() != 0:
        print(f"This takes root, and buildah and debootstrap (missing: {', '.join(missing) or 'none'}).", file=sys.stderr)
        return 2
    if words.keep is not None:
        words.keep.mkdir(parents=True, exist_ok=True)
        return int(not check(words.keep))
    with tempfile.TemporaryDirectory(prefix="mirrormend-image-", ignore_cleanup_errors=True) as folder:
        return int(not check(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
