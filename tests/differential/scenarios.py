"""Small worlds of packages that a resolver is tried on, as TOML: uv's own ones (packse), and those of `worlds`.

    name = "…"
    [root]
    requires = ["a"]
    [packages.a.versions."1.0"]
    requires = ["b>1"]            # also requires_python, yanked, sdist, wheel, wheel_tags, extras

Each is served under names of its own, `<world>-<package>`, so that all of them fit into one index.
"""

import html
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.differential.contents import Content
from tests.differential.harness import Differential
from tests.differential.observations import Difference
from tests.differential.standin import JSON_TYPE, SourcePage, StandIn, Written
from tests.differential.uv_runs import COMMANDS, UvRuns, Wish, compare_runs
from tests.wheels import make_sdist, make_wheel

FORMS = ("json", "html")


@dataclass(frozen=True)
class Scenario:
    """One world, with what is asked of it."""

    name: str
    root: Mapping[str, Any]
    packages: Mapping[str, Any]
    options: Mapping[str, Any]
    python: str | None

    @classmethod
    def read(cls, text: str) -> "Scenario":
        """Read a scenario in TOML."""
        told = tomllib.loads(text)
        return cls(
            str(canonicalize_name(told["name"])),
            told["root"],
            told.get("packages", {}),
            told.get("resolver_options", {}),
            told.get("environment", {}).get("python"),
        )

    def wish(self, command: str) -> Wish:
        """Return what uv is asked for by `command`, with the options that the command has."""
        options = ["--prerelease", "allow"] if self.options.get("prereleases") else []
        one_environment = command != "lock"
        for key, of_lock, of_pip in (
            ("no_binary", "--no-binary-package", "--no-binary"),
            ("no_build", "--no-build-package", "--only-binary"),
        ):
            for package in self.options.get(key, ()):
                options += [of_pip if one_environment else of_lock, self._named(package)]
        if one_environment and "python_platform" in self.options:
            options += ["--python-platform", self.options["python_platform"]]
        if command == "compile":
            options += ["--universal"] if self.options.get("universal") else []
            options += ["--python-version", self.python] if self.python else []
        requirements = tuple(self._required(each) for each in self.root["requires"])
        return Wish(requirements, self.root.get("requires_python", ">=3.11"), tuple(options))

    def serve(self, mirror: StandIn, form: str) -> None:
        """List all packages at `mirror`, in one form, and deliver their files."""
        for package, told in self.packages.items():
            name = self._named(package)
            files = [file for version, facts in told["versions"].items() for file in self._files(name, version, facts)]
            for file in files:
                mirror.deliver(f"{mirror.origin}/root/files/{name}/{file.name}", file.content)
            mirror.pages[name] = SourcePage(name, (_in_json(name, files) if form == "json" else _in_html(name, files),))

    def _named(self, package: str) -> str:
        return f"{self.name}-{canonicalize_name(package)}"

    def _required(self, text: str) -> str:
        requirement = Requirement(text)
        requirement.name = self._named(requirement.name)
        return str(requirement)

    def _files(self, name: str, version: str, facts: Mapping[str, Any]) -> Iterator["_Served"]:
        stem, extras = f"{name.replace('-', '_')}-{version}", facts.get("extras", {})
        requires = [self._required(each) for each in facts.get("requires", ())]
        for extra, texts in extras.items():
            requires += [_only_for(extra, self._required(each)) for each in texts]
        python = facts.get("requires_python", ">=3.8")
        lines = [f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\nRequires-Python: {python}\n" if python else ""]
        lines = lines if python else [f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"]
        lines += [f"Provides-Extra: {extra}\n" for extra in extras] + [f"Requires-Dist: {each}\n" for each in requires]
        metadata, yanked = "".join(lines), facts.get("yanked", False)
        if facts.get("sdist", True):
            data = make_sdist(f"{stem}.tar.gz", metadata=metadata, requires_dist=requires)
            yield _Served(f"{stem}.tar.gz", Content(data), python, yanked, False)
        if facts.get("wheel", True):
            for tag in facts.get("wheel_tags", ["py3-none-any"]):
                filename = f"{stem}-{tag}.whl"
                content = Content(make_wheel(filename, metadata=metadata), metadata=metadata.encode())
                yield _Served(filename, content, python, yanked, True)


@dataclass(frozen=True)
class _Served:
    name: str
    content: Content
    requires_python: str
    yanked: bool | str
    has_metadata: bool

    @property
    def digest(self) -> str:
        return sha256(self.content.whole).hexdigest()


def _only_for(extra: str, text: str) -> str:
    requirement = Requirement(text)
    marker = f"({requirement.marker}) and extra == '{extra}'" if requirement.marker else f"extra == '{extra}'"
    requirement.marker = None
    return f"{requirement} ; {marker}"


def _in_json(name: str, files: Sequence[_Served]) -> Written:
    entries = [
        {
            "filename": file.name,
            "url": f"../../files/{name}/{file.name}",
            "hashes": {"sha256": file.digest},
            "size": file.content.size,
            "upload-time": "2024-03-24T00:00:00Z",
            **({"requires-python": file.requires_python} if file.requires_python else {}),
            **({"yanked": file.yanked} if file.yanked else {}),
            **({"core-metadata": True} if file.has_metadata else {}),
        }
        for file in files
    ]
    versions = sorted({file.name.split("-")[1].removesuffix(".tar.gz") for file in files})
    page = {"meta": {"api-version": "1.1"}, "name": name, "versions": versions, "files": entries}
    return Written(json.dumps(page).encode(), JSON_TYPE)


def _in_html(name: str, files: Sequence[_Served]) -> Written:
    anchors = []
    for file in files:
        attributes = f' data-requires-python="{html.escape(file.requires_python)}"' if file.requires_python else ""
        if file.yanked:
            attributes += f' data-yanked="{"" if file.yanked is True else html.escape(file.yanked)}"'
        anchors.append(f'<a href="../../files/{name}/{file.name}#sha256={file.digest}"{attributes}>{file.name}</a><br/>')
    return Written(f"<!DOCTYPE html><html><body><h1>Links for {name}</h1>\n{''.join(anchors)}</body></html>".encode())


def scenarios_below(folder: Path) -> list[Scenario]:
    """Return the scenarios of the TOML files below `folder`."""
    return [Scenario.read(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.toml"))]


async def compare_scenario(
    runs: UvRuns, run: Differential, scenario: Scenario, form: str, commands: Sequence[str] = COMMANDS
) -> list[Difference]:
    """Return how uv's runs of a scenario differ through the proxy: exit status, what it decides, and where it fails what it says."""
    scenario.serve(run.mirror, form)
    found = []
    for command in commands:
        found += (await compare_runs(runs, run, command, scenario.wish(command), f"{scenario.name} in {form}", strict=True))[1]
    return found
