"""Locks of all programs as they are written, for tests: the same packages in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHA = "a" * 64


@dataclass(frozen=True)
class Locked:
    """A package of a lock: its name, the address of its index, and the addresses of its files; the version is always 1.0."""

    name: str
    index: str | None
    urls: Sequence[str] = ()

    @property
    def filenames(self) -> list[str]:
        """The names of its files."""
        return [each.rpartition("/")[2] for each in self.urls]


def wheel(name: str, base: str) -> str:
    """Return the address of a wheel below `base`."""
    return f"{base}{name}-1.0-py3-none-any.whl"


def uv_lock(packages: Sequence[Locked], sources: Mapping[str, str] | None = None) -> str:
    """Return a uv.lock; `sources` are packages that come from no index, as `name: {…}`."""
    text = 'version = 1\nrevision = 3\nrequires-python = ">=3.11"\n\n[[package]]\nname = "app"\nversion = "1"\nsource = { virtual = "." }\n'
    text += "dependencies = [" + ", ".join(f'{{ name = "{each}" }}' for each in [*(p.name for p in packages), *(sources or {})]) + "]\n"
    for package in packages:
        files = ", ".join(f'{{ url = "{url}", hash = "sha256:{SHA}" }}' for url in package.urls)
        text += (
            f'\n[[package]]\nname = "{package.name}"\nversion = "1.0"\nsource = {{ registry = "{package.index}" }}\nwheels = [{files}]\n'
        )
    for name, source in (sources or {}).items():
        text += f'\n[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {source}\n'
    return text


def pylock(packages: Sequence[Locked], sources: Mapping[str, str] | None = None) -> str:
    """Return a pylock.toml; `sources` are packages that come from no index, as `name: key = {…}`."""
    text = 'lock-version = "1.0"\ncreated-by = "test"\nrequires-python = ">=3.11"\n'
    for package in packages:
        files = ", ".join(f'{{ url = "{url}", hashes = {{ sha256 = "{SHA}" }} }}' for url in package.urls)
        index = "" if package.index is None else f'index = "{package.index}"\n'
        text += f'\n[[packages]]\nname = "{package.name}"\nversion = "1.0"\n{index}wheels = [{files}]\n'
    for name, source in (sources or {}).items():
        text += f'\n[[packages]]\nname = "{name}"\n{source}\n'
    return text


def poetry_lock(packages: Sequence[Locked], sources: Mapping[str, str] | None = None) -> str:
    """Return a poetry.lock; `sources` are packages that come from no index, by the type of their source."""
    text = ""
    for package in packages:
        files = ", ".join(f'{{file = "{name}", hash = "sha256:{SHA}"}}' for name in package.filenames)
        text += f'[[package]]\nname = "{package.name}"\nversion = "1.0"\noptional = false\npython-versions = "*"\nfiles = [{files}]\n\n'
        if package.index is not None:
            text += f'[package.source]\ntype = "legacy"\nurl = "{package.index.rstrip("/")}"\nreference = "mirror"\n\n'
    for name, kind in (sources or {}).items():
        text += f'[[package]]\nname = "{name}"\nversion = "1.0"\nfiles = []\n\n[package.source]\ntype = "{kind}"\nurl = "../{name}"\n\n'
    return text + '[metadata]\nlock-version = "2.1"\npython-versions = "^3.11"\ncontent-hash = "0"\n'


def pdm_lock(packages: Sequence[Locked], sources: Mapping[str, str] | None = None, *, static_urls: bool = False) -> str:
    """Return a pdm.lock; `sources` are packages that come from no index, as `name: key = …`."""
    text = '[metadata]\ngroups = ["default"]\nlock_version = "4.5.0"\n\n[[metadata.targets]]\nrequires_python = "~=3.11"\n'
    for package in packages:
        told = [f'url = "{url}"' for url in package.urls] if static_urls else [f'file = "{name}"' for name in package.filenames]
        files = ", ".join(f'{{{each}, hash = "sha256:{SHA}"}}' for each in told)
        text += f'\n[[package]]\nname = "{package.name}"\nversion = "1.0"\ngroups = ["default"]\nfiles = [{files}]\n'
    for name, source in (sources or {}).items():
        text += f'\n[[package]]\nname = "{name}"\nversion = "1.0"\n{source}\nfiles = []\n'
    return text
