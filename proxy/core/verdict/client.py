"""What a client says of itself in its User-Agent, and which wheels it could install.

uv and pip append a JSON object with their Python, system and processor. It is a hint for the order of probes and nothing else:
a client that says nothing, or lies, only waits for other files first.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.core.page import File

_LONGEST = 4096
_FITTING_MACHINES = {
    "x86_64": ("x86_64", "amd64", "universal2", "intel"),
    "amd64": ("x86_64", "amd64", "universal2", "intel"),
    "arm64": ("arm64", "aarch64", "universal2"),
    "aarch64": ("arm64", "aarch64", "universal2"),
}
_PLATFORMS = {"linux": ("manylinux", "linux"), "darwin": ("macosx",), "windows": ("win",)}
_CPYTHON_TAG = re.compile(r"cp(\d)(\d+)")


class _Implementation(msgspec.Struct):
    version: str | None = None


class _System(msgspec.Struct):
    name: str | None = None


class _Distro(msgspec.Struct):
    libc: dict[str, str | None] | None = None


class _UserAgent(msgspec.Struct):
    implementation: _Implementation | None = None
    python: str | None = None
    system: _System | None = None
    distro: _Distro | None = None
    cpu: str | None = None


@dataclass(frozen=True, slots=True)
class ClientPlatform:
    """Where a client installs: Python's major and minor version, the system and the processor, in lower case; empty where unknown."""

    python: tuple[int, int]
    system: str
    machine: str
    musl: bool = False


@lru_cache(maxsize=256)
def client_platform(user_agent: str) -> ClientPlatform | None:
    """Gives what a User-Agent such as `uv/0.13.9 {"implementation": …}` tells, None where it tells nothing useful."""
    brace = user_agent.find("{")
    if brace < 0 or len(user_agent) > _LONGEST:
        return None
    try:
        said = msgspec.json.decode(user_agent[brace:].encode(), type=_UserAgent)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    version = said.python or (said.implementation.version if said.implementation else None) or ""
    numbers = re.match(r"(\d{1,2})\.(\d{1,3})", version)
    system = (said.system.name if said.system else None) or ""
    if numbers is None or not system:
        return None
    libc = (said.distro.libc or {}).get("lib") if said.distro else None
    return ClientPlatform((int(numbers[1]), int(numbers[2])), system.lower(), (said.cpu or "").lower(), libc == "musl")


def fitness(file: File, client: ClientPlatform) -> int | None:
    """Says how well the client could install the wheel, greater being better; None where it could not, as far as the names tell."""
    tags = file.tags
    if tags is None:
        return None
    python = _python_fitness(tags.python, tags.abi, client.python)
    platform = _platform_fitness(tags.platform, client)
    return None if python is None or platform is None else python + platform


def runs_on(file: File, client: ClientPlatform) -> bool:
    """Tell whether the wheel is for the client's Python, on whatever platform."""
    tags = file.tags
    if tags is None or _python_fitness(tags.python, tags.abi, client.python) is None:
        return False
    return file.requires_python is None or admits_python(file.requires_python, client.python)


@lru_cache(maxsize=4096)
def admits_python(requires_python: str, python: tuple[int, int]) -> bool:
    """Return whether `requires_python` admits some release of that Python, as is taken for granted where it cannot be understood."""
    try:
        return SpecifierSet(requires_python).contains(f"{python[0]}.{python[1]}.99")
    except InvalidSpecifier:
        return True


@lru_cache(maxsize=4096)
def _python_fitness(python: str, abi: str, wanted: tuple[int, int]) -> int | None:
    major, minor = wanted
    best: int | None = None
    for tag in python.split("."):
        found = _CPYTHON_TAG.fullmatch(tag)
        if found is not None and int(found[1]) == major:
            if int(found[2]) == minor and abi.partition(".")[0] in {tag, f"{tag}m", "abi3", "none"}:
                best = max(best or 0, 300)
            elif "abi3" in abi.split(".") and int(found[2]) <= minor:
                best = max(best or 0, 200 + int(found[2]))
        elif tag in {f"py{major}", f"py{major}{minor}"}:
            best = max(best or 0, 100)
    return best


def _platform_fitness(platform: str, client: ClientPlatform) -> int | None:
    if platform == "any":
        return 1
    prefixes = ("musllinux",) if client.musl else _PLATFORMS.get(client.system, ())
    machines = _FITTING_MACHINES.get(client.machine, (client.machine,))
    fits = any(
        tag.startswith(prefixes) and (tag.endswith(machines) or (tag == "win32" and client.machine in {"x86", "i386", "i686"}))
        for tag in platform.split(".")
        if prefixes
    )
    return 10 if fits else None
