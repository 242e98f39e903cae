"""Worlds from chance, and the chain in which every project forbids the newest releases of the next one.

A drawn world is solvable by construction: for each project one release is its witness, the requirements of witnesses and of the one who
resolves admit the witnesses, and every release keeps a good file for every platform. What other releases require may lead nowhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from random import Random

from packaging.version import Version

from tests.worlds.model import MadeFile, MadeProject, MadeRelease, MadeWorld, Metadata

PLATFORMS = ("macosx_11_0_arm64", "macosx_10_12_x86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64", "win_amd64")
MARKERS = ("sys_platform == 'win32'", "python_version < '3.8'", "python_version >= '3.12'", "platform_machine == 'arm64'")
EXTRA = "fast"

_FINALS = ("0.9", "1.0", "1.1", "2.0", "2.1.3", "3.0", "3.5", "4.0", "4.0.1", "5.0")
_UNINSTALLABLE = ">=3.99"


_LINKS = ("1.0", "2.0", "3.0", "3.1", "4.0", "5.0", "6.0")


def chain(dead: str, *, projects: int = 12, kept: str = "tar.gz", versions: Sequence[str] = _LINKS) -> MadeWorld:
    """Return the chain: each project requires the next one `<4`, and the wheels with `dead` in their names are dead.

    `kept` is the ending of the file that every release keeps: an sdist with static metadata, or a pure wheel.
    """
    names = [f"link{number:02}" for number in range(projects)]
    made = [
        _with_wheels(name, versions, (f"{following}<4",) if following else (), dead, kept)
        for name, following in zip_longest(names, names[1:], fillvalue="")
    ]
    return MadeWorld(tuple(made), (f"{names[0]}<4",))


def siblings(dead: str, *, projects: int = 12, kept: str = "tar.gz", versions: Sequence[str] = _LINKS) -> MadeWorld:
    """Return the chain below a project that requires all of it without bounds: all pages are asked for before a bound is known."""
    links = chain(dead, projects=projects, kept=kept, versions=versions)
    hub = _with_wheels("hub", ("1.0",), [each.name for each in links.projects], dead, kept)
    return MadeWorld((hub, *links.projects), ("hub",))


def _with_wheels(name: str, versions: Iterable[str], requires: Iterable[str], dead: str, kept: str) -> MadeProject:
    releases = []
    for version in versions:
        names = [f"{name}-{version}-cp39-abi3-{platform}.whl" for platform in PLATFORMS]
        names.append(f"{name}-{version}{'.' if kept == 'tar.gz' else '-'}{kept}")
        files = tuple(MadeFile(each, dead in each) for each in names)
        releases.append(MadeRelease(name, version, files, tuple(requires), requires_python=">=3.8"))
    return MadeProject(name, tuple(releases))


def world_of(seed: int, *, most_projects: int = 9, most_releases: int = 6) -> MadeWorld:
    """Draw the world of this seed: always the same one."""
    return draw_world(Random(seed), most_projects=most_projects, most_releases=most_releases)  # noqa: S311 - to be drawn again, not secret


@dataclass(frozen=True)
class _Skeleton:
    """A project's versions, the oldest first, and its witness."""

    name: str
    versions: tuple[str, ...]
    witness: str
    extra: bool


def draw_world(random: Random, *, most_projects: int = 9, most_releases: int = 6) -> MadeWorld:
    """Draw a world; the same `random` gives the same one."""
    count = random.randint(2, most_projects)
    skeletons = [_skeleton(random, f"pkg{number}", most_releases) for number in range(count)]
    projects = tuple(_project(random, number, skeletons) for number in range(count))
    roots = random.sample(skeletons, random.randint(1, min(2, count)))
    if skeletons[0] not in roots:
        roots[0] = skeletons[0]
    wanted = tuple(_requirement(random, each, bound_to_witness=True, marker="") for each in roots)
    return _with_dead_files(random, MadeWorld(projects, wanted, random.choice(list(Metadata))))


def _skeleton(random: Random, name: str, most_releases: int) -> _Skeleton:
    finals = sorted(random.sample(_FINALS, random.randint(1, most_releases)), key=Version)
    witness = finals[-1] if random.random() < 0.3 else random.choice(finals)
    versions = list(finals)
    if random.random() < 0.25:
        versions.append(random.choice(("6.0rc1", "1.0b2", "3.5.dev1")))
    return _Skeleton(name, tuple(sorted(versions, key=Version)), witness, random.random() < 0.25)


def _project(random: Random, number: int, skeletons: list[_Skeleton]) -> MadeProject:
    mine = skeletons[number]
    shape = random.choice(("pure", "binary", "binary", "abi3", "both"))
    # Mostly of later ones, as real projects do; a cycle now and then.
    later = skeletons[number + 1 :]
    others = [each for each in (skeletons if random.random() < 0.1 else later) if each is not mine]
    usual = random.sample(others, min(len(others), random.randint(0, 3)))
    releases = []
    for version in mine.versions:
        witness = version == mine.witness
        required = usual if random.random() < 0.8 or not others else [random.choice(others)]
        requires = [_requirement(random, each, bound_to_witness=witness or random.random() < 0.7) for each in required]
        if mine.extra and others:
            requires.append(_requirement(random, random.choice(others), bound_to_witness=True, marker=f"extra == '{EXTRA}'"))
        releases.append(
            MadeRelease(
                mine.name,
                version,
                tuple(map(MadeFile, _filenames(random, mine.name, version, shape))),
                tuple(requires),
                (EXTRA,) if mine.extra else (),
                _UNINSTALLABLE if not witness and random.random() < 0.1 else random.choice((None, ">=3.8", ">=3.9")),
                not witness and random.random() < 0.1,
            )
        )
    return MadeProject(mine.name, tuple(releases))


def _filenames(random: Random, name: str, version: str, shape: str) -> list[str]:
    stem = f"{name}-{version}"
    pythons = {"binary": ("cp311-cp311", "cp312-cp312"), "abi3": ("cp39-abi3",), "both": ("cp311-cp311",), "pure": ()}[shape]
    names = [f"{stem}-{python}-{platform}.whl" for python in pythons for platform in PLATFORMS]
    if shape in {"pure", "both"}:
        names.append(f"{stem}-py3-none-any.whl")
    if shape in {"binary", "abi3"} or random.random() < 0.6:
        names.append(f"{stem}.tar.gz")
    return names


def _requirement(random: Random, target: _Skeleton, *, bound_to_witness: bool, marker: str | None = None) -> str:
    finals = [each for each in target.versions if not Version(each).is_prerelease]
    middle = target.witness if bound_to_witness else random.choice(finals)
    above = [each for each in finals if Version(each) > Version(middle)]
    below = [each for each in finals if Version(each) <= Version(middle)]
    kinds = [f">={random.choice(below)}", "", f"=={middle}"]
    if above:
        upper = random.choice(above)
        kinds += [f"<{upper}", f"<{upper}", f">={random.choice(below)},<{upper}", f"!={upper}", f"<={middle}"]
    bound = random.choice(kinds)
    extra = f"[{EXTRA}]" if target.extra and random.random() < 0.4 else ""
    if marker is None and random.random() < 0.2:
        marker = random.choice(MARKERS)
    return f"{target.name}{extra}{bound}{f' ; {marker}' if marker else ''}"


def _with_dead_files(random: Random, world: MadeWorld) -> MadeWorld:
    platform = random.choice(("macosx", "manylinux", "win", "macosx_11", ""))
    of_platform = platform if random.random() < 0.75 else ""
    of_file = random.choice((0.0, 0.05, 0.3))

    def with_dead(release: MadeRelease) -> MadeRelease:
        whole = random.choice(("wheels", "sdist", "", "", "", "", "", ""))
        files = []
        for file in release.files:
            wheel = file.filename.endswith(".whl")
            dead = bool(of_platform) and of_platform in file.filename
            dead = dead or (whole == "wheels" and wheel) or (whole == "sdist" and not wheel) or random.random() < of_file
            files.append(replace(file, dead=dead))
        if all(file.dead for file in files if file.universal):
            files = [replace(file, dead=file.dead and not file.universal) for file in files]
        return replace(release, files=tuple(files))

    projects = tuple(replace(each, releases=tuple(map(with_dead, each.releases))) for each in world.projects)
    return replace(world, projects=projects)
