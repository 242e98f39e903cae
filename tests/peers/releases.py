"""What the peers are given to deliver: projects with two releases for three platforms, and one that they require."""

from dataclasses import dataclass
from functools import cache

from tests.wheels import make_sdist, make_wheel

PLATFORMS = ("macosx_10_9_universal2", "manylinux_2_17_x86_64.manylinux_2_17_aarch64", "win_amd64")
REQUIRED = "gale"


@dataclass(frozen=True)
class Releases:
    """The files of a project called `name`: wheels of 1.0 and 2.0 for each platform, and sdists."""

    name: str

    @property
    def mac(self) -> str:
        """The wheel that uv reads first, and that Linux does not install."""
        return f"{self.name}-2.0-cp39-abi3-{PLATFORMS[0]}.whl"

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes by filename."""
        return _files(self.name)

    @property
    def newest(self) -> set[str]:
        """The names of the files of 2.0."""
        return {name for name in self.files if name.startswith(f"{self.name}-2.0")}


@cache
def _files(name: str) -> dict[str, bytes]:
    required = (f"{REQUIRED}>=1",)
    files = {}
    for version in ("1.0", "2.0"):
        for platform in PLATFORMS:
            wheel = f"{name}-{version}-cp39-abi3-{platform}.whl"
            files[wheel] = make_wheel(wheel, requires_dist=required)
        sdist = f"{name}-{version}.tar.gz"
        files[sdist] = make_sdist(sdist, requires_dist=required)
    return files


WHOLE, LOSING, HELD, LATE = (Releases(name) for name in ("stormwind", "thunder", "hail", "squall"))
"""One project for each test that changes what there is of it."""


@cache
def everything() -> dict[str, dict[str, bytes]]:
    """Gives the bytes of all files, by filename, by project."""
    wheel = f"{REQUIRED}-1.0-py3-none-any.whl"
    return {each.name: each.files for each in (WHOLE, LOSING, HELD, LATE)} | {REQUIRED: {wheel: make_wheel(wheel)}}
