"""The platforms that a lock is looked at for, and what a file is for.

The tags are those that `packaging` computes for an installer there (PyPA specifications, platform compatibility tags).
A platform is one machine as they are common today: glibc 2.36, musl 1.2, macOS 14, Windows on a 64-bit PC, always CPython.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, parse_tag

from proxy.core.page import File, Packaging

PYTHONS = ((3, 9), (3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
"""The CPythons that packages are built for today."""

_GLIBC = 36
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
_ALIASES = {(17, "x86_64"): "2014", (17, "aarch64"): "2014", (12, "x86_64"): "2010", (5, "x86_64"): "1"}
_MUSL = 2
_EQUAL = re.compile(r"""(\w+) == ["']([^"']*)["']""")


@dataclass(frozen=True, slots=True)
class Platform:
    """A machine that packages are installed on. `system`, `machine` and `os_name` are what markers ask for (dependency specifiers)."""

    name: str
    title: str
    sys_platform: str
    system: str
    machine: str
    os_name: str = "posix"

    def tags(self, python: tuple[int, int]) -> frozenset[Tag]:
        """Gives the tags that CPython of this version accepts there."""
        return _tags(self.name, python)

    def environment(self, python: tuple[int, int]) -> dict[str, str]:
        """Gives the values of the markers' variables for CPython of this version there."""
        version = f"{python[0]}.{python[1]}"
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{version}.99",
            "os_name": self.os_name,
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": f"{version}.99",
            "python_version": version,
            "sys_platform": self.sys_platform,
            "extra": "",
        }


PLATFORMS = (
    Platform("linux-x86_64", "Linux x86_64", "linux", "Linux", "x86_64"),
    Platform("linux-aarch64", "Linux aarch64", "linux", "Linux", "aarch64"),
    Platform("musllinux-x86_64", "Alpine x86_64", "linux", "Linux", "x86_64"),
    Platform("macos-arm64", "macOS arm64", "darwin", "Darwin", "arm64"),
    Platform("macos-x86_64", "macOS x86_64", "darwin", "Darwin", "x86_64"),
    Platform("windows-amd64", "Windows amd64", "win32", "Windows", "AMD64", "nt"),
)


def pythons_of(requires_python: str) -> tuple[tuple[int, int], ...]:
    """Gives the Pythons that `requires_python` admits, all where it admits none of them or cannot be read."""
    try:
        wanted = SpecifierSet(requires_python)
        return tuple(each for each in PYTHONS if wanted.contains(f"{each[0]}.{each[1]}.99")) or PYTHONS
    except ValueError:
        # InvalidSpecifier is one, and so is a number of thousands of digits.
        return PYTHONS


def spelled_python(python: tuple[int, int]) -> str:
    """Gives a Python's major and minor version as it is written."""
    return f"{python[0]}.{python[1]}"


def environments(pythons: Iterable[tuple[int, int]]) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """Gives every pair of a platform's name and a Python, and the markers' variables there."""
    for python in pythons:
        for platform in PLATFORMS:
            yield (platform.name, spelled_python(python)), platform.environment(python)


def supported_environments(requires_python: str, markers: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Return the variables of every platform and Python that `requires_python` and, if there are any, one of `markers` admit.

    A marker that none of the usual platforms meets gets some that do, by the values that it names. Raises InvalidMarker.
    """
    usual = [environment for _, environment in environments(pythons_of(requires_python))]
    if not markers:
        yield from usual
        return
    for text in markers:
        marker = Marker(text)
        met = [each for each in usual if holds(marker, each)]
        # In the form that `packaging` gives them, alternatives are apart by "or".
        variants = [dict(_EQUAL.findall(part)) for part in str(marker).split(" or ")]
        yield from met or [
            varied for each in usual for variant in variants for varied in _varied(each, variant, requires_python) if holds(marker, varied)
        ]


def _varied(environment: Mapping[str, str], variant: Mapping[str, str], requires_python: str) -> Iterator[dict[str, str]]:
    yield {**environment, **variant}
    first = f"{environment['python_version']}.0"
    if _admits_release(requires_python, first):
        yield {**environment, "python_full_version": first, "implementation_version": first, **variant}


def _admits_release(requires_python: str, release: str) -> bool:
    try:
        return SpecifierSet(requires_python).contains(release)
    except ValueError:
        return True


def holds(marker: Marker | None, environment: Mapping[str, str]) -> bool:
    """Whether a marker holds in an environment; one that cannot be evaluated may hold."""
    try:
        return marker is None or marker.evaluate(dict(environment))
    except (UndefinedComparison, UndefinedEnvironmentName, KeyError, ValueError):
        return True


@cache
def _tags(name: str, python: tuple[int, int]) -> frozenset[Tag]:
    platforms = list(_platform_tags(name))
    interpreter = f"cp{python[0]}{python[1]}"
    return frozenset((*cpython_tags(python, [interpreter], platforms), *compatible_tags(python, interpreter, platforms)))


def _platform_tags(name: str) -> Iterator[str]:
    family, _, machine = name.partition("-")
    if family == "linux":
        for minor in range(_GLIBC, _OLDEST_GLIBC[machine] - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if (minor, machine) in _ALIASES:
                yield f"manylinux{_ALIASES[minor, machine]}_{machine}"
        yield f"linux_{machine}"
    elif family == "musllinux":
        yield from (f"musllinux_1_{minor}_{machine}" for minor in range(_MUSL, -1, -1))
        yield f"linux_{machine}"
    elif family == "macos":
        yield from mac_platforms((14, 0), machine)
    else:
        yield "win_amd64"


@cache
def _tags_of(text: str) -> frozenset[Tag]:
    try:
        return parse_tag(text)
    except ValueError:
        return frozenset()


def fits(file: File, platform: Platform, python: tuple[int, int]) -> bool:
    """Whether an installer there takes the wheel, or the sdist, as far as tags and requires-python tell."""
    if not _admits(file.requires_python or "", python):
        return False
    tags = file.tags
    if tags is None:
        return file.packaging is Packaging.SDIST
    return not platform.tags(python).isdisjoint(_tags_of(f"{tags.python}-{tags.abi}-{tags.platform}"))


@cache
def _admits(requires_python: str, python: tuple[int, int]) -> bool:
    try:
        return SpecifierSet(requires_python).contains(f"{python[0]}.{python[1]}.99")
    except ValueError:
        return True
