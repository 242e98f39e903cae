"""Real uv, direct and through the proxy: what it locks, compiles and would install has to be the same."""

import asyncio
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from tests.clients import Uv, write_project
from tests.differential.contents import filename_in
from tests.differential.harness import Comparison, ContentOf, Differential
from tests.differential.observations import Difference, Entry, Unreadable, shown
from tests.differential.readers import READERS
from tests.differential.standin import SourcePage

_RUNS_AT_ONCE = 3
_ADDRESS = re.compile(r"https?://127\.0\.0\.1:[0-9]+/[^\s`'\"]*")
_SECONDS = re.compile(r"in [0-9.]+m?s")
_MOST_VERSIONS = 6
COMMANDS = ("lock", "compile", "install")


@dataclass(frozen=True)
class Outcome:
    """How a run of uv ended: its exit status, what it decided, and the addresses that it wrote down, by file and hash."""

    status: int
    decided: object
    said: str
    links: dict[tuple[str, str, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """A question to uv: requirements, of an interpreter or of all that the project supports, with options of the resolver."""

    requirements: tuple[str, ...]
    requires_python: str = ">=3.11"
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(self.requirements)


class UvRuns:
    """Runs of uv in folders of their own below `folder`, with one cache, which knows nothing of what this machine has."""

    def __init__(self, folder: Path) -> None:
        self._uv = Uv(folder)
        # What fails is not worth a second try: mirrors on loopback do not fail in passing.
        self._uv.environment |= {"UV_HTTP_RETRIES": "0"}
        self._folder = folder
        self._number = 0
        self._turn = asyncio.Semaphore(_RUNS_AT_ONCE)

    async def run(self, command: str, wish: Wish, index_url: str) -> Outcome:
        """Run one of COMMANDS against the index at `index_url`."""
        self._number += 1
        folder = self._folder / f"run{self._number}"
        async with self._turn:
            if command == "lock":
                return await self._lock(folder, wish, index_url)
            folder.mkdir()
            (folder / "wanted.in").write_text("\n".join(wish.requirements) + "\n", encoding="utf-8")
            if command == "compile":
                return await self._compile(folder, wish, index_url)
            return await self._install(folder, wish, index_url)

    async def _lock(self, folder: Path, wish: Wish, index_url: str) -> Outcome:
        write_project(folder, list(wish.requirements), wish.requires_python)
        done = await self._uv.run("lock", "--default-index", index_url, *wish.options, cwd=folder)
        path = folder / "uv.lock"
        if done.returncode or not path.exists():
            return Outcome(done.returncode, None, _neutral(done.stderr))
        lock = tomllib.loads(path.read_text(encoding="utf-8").replace(f'registry = "{index_url}"', 'registry = "the index"'))
        links: dict[tuple[str, str, int], str] = {}
        packages = [_package(each, links) for each in lock.pop("package", [])]
        return Outcome(0, (packages, lock), _neutral(done.stderr), links)

    async def _compile(self, folder: Path, wish: Wish, index_url: str) -> Outcome:
        arguments = ("--generate-hashes", "--no-header", "--no-annotate", *wish.options)
        done = await self._uv.run("pip", "compile", "wanted.in", "--default-index", index_url, *arguments, cwd=folder)
        return Outcome(done.returncode, done.stdout, _neutral(done.stderr))

    async def _install(self, folder: Path, wish: Wish, index_url: str) -> Outcome:
        arguments = ("--dry-run", "--target", "installed", "-r", "wanted.in", *wish.options)
        done = await self._uv.run("pip", "install", *arguments, "--default-index", index_url, cwd=folder)
        changes = [line for line in done.stderr.splitlines() if line.startswith((" + ", " - ", " ~ "))]
        return Outcome(done.returncode, changes, _neutral(done.stderr))


async def compare_runs(
    runs: UvRuns, run: Comparison, command: str, wish: Wish, title: str, *, strict: bool = False
) -> tuple[bool, list[Difference]]:
    """Return whether uv succeeded at the mirror, and how its run through the proxy differs from that.

    Where it fails at the mirror, nothing can be lost and nothing is compared, unless `strict`.
    """
    client, proxied_url = f"uv {command}", f"{run.proxy_url}simple/"
    direct, proxied = await asyncio.gather(runs.run(command, wish, run.direct_url), runs.run(command, wish, proxied_url))
    if direct.status and not strict:
        return False, []
    if direct.status != proxied.status:
        kind = "uv fails" if proxied.status else "uv succeeds"
        ended = [f"ended with {each.status}: {shown(each.said, 700)}" for each in (direct, proxied)]
        return not direct.status, [Difference(kind, client, title, "", str(wish), *ended)]
    if direct.status:
        same = direct.said == proxied.said
        return False, [] if same else [Difference("uv says otherwise", client, title, "", str(wish), direct.said, proxied.said)]
    found = []
    decided = proxied.decided if strict else _forgiven(direct.decided, proxied.decided)
    if direct.decided != decided:
        before, after = _first_difference(direct.decided, decided)
        found.append(Difference("uv decides otherwise", client, title, "", str(wish), shown(before, 600), shown(after, 600)))
    shared = direct.links.keys() & proxied.links.keys()
    return True, found + await run.links([(direct.links[each], proxied.links[each]) for each in shared], client, title)


def _forgiven(direct: object, proxied: object) -> object:
    """Return `proxied` without what it has where `direct` has nothing: a hash, a size or a time that only the proxy knows."""
    if direct in ("", None):
        return direct
    if isinstance(direct, list | tuple) and isinstance(proxied, list | tuple) and len(direct) == len(proxied):
        return type(direct)(_forgiven(before, after) for before, after in zip(direct, proxied, strict=True))
    if isinstance(direct, dict) and isinstance(proxied, dict):
        return {key: _forgiven(direct.get(key, value), value) for key, value in proxied.items()}
    return proxied


async def compare_page(
    runs: UvRuns, run: Differential, page: SourcePage, commands: Sequence[str] = ("lock", "compile"), content: ContentOf | None = None
) -> list[Difference]:
    """Return how uv's runs for the project of a page differ through the proxy: for each of its versions, or the one that uv picks."""
    direct = await run.prepare(page, content)
    try:
        entries = READERS["fields"](direct["uv"], page.project).entries
    except Unreadable:
        return []
    if any(_hidden_from_uv(entry.url) for entry in entries):
        return []
    found = []
    for command in commands:
        for wish in wishes_for(page.project, entries):
            succeeded, differences = await compare_runs(runs, run, command, wish, page.title or page.project)
            found += differences
            if succeeded:
                break
    return found


def _hidden_from_uv(url: str) -> bool:
    """Return whether uv finds no file name in an address where pip finds one: through the proxy, which shows it to both, uv sees more."""
    path = urlsplit(url).path
    return path.endswith("/") or "%2f" in path.rpartition("/")[2].lower()


def wishes_for(project: str, entries: Sequence[Entry]) -> list[Wish]:
    """Return what to ask uv for to see much of a page: each of its versions in a fork of its own, else just the project."""
    versions: set[str] = set()
    for entry in entries:
        try:
            if entry.name.endswith(".whl"):
                name, version, _, _ = parse_wheel_filename(entry.name)
            elif entry.name.endswith(".tar.gz"):
                name, version = parse_sdist_filename(entry.name)
            else:
                continue
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        if name == project:
            versions.add(str(version))
    chosen = sorted(versions)[:_MOST_VERSIONS]
    # No wheel is for a release of a platform, so that all wheels of each version stay in its fork.
    forks = tuple(f"{project}=={version} ; platform_version == '{number}'" for number, version in enumerate(chosen))
    return [*([Wish(forks)] if forks else []), Wish((project,), options=("--prerelease", "allow"))]


def _package(package: dict[str, Any], links: dict[tuple[str, str, int], str]) -> dict[str, Any]:
    """Return a package of a lock without addresses; these are added to `links`."""
    kept = {key: value for key, value in package.items() if key not in {"source", "wheels", "sdist"}}
    kept["from"] = sorted(package.get("source", {}))
    for key in ("wheels", "sdist"):
        files = package.get(key, [])
        kept[key] = [_locked(each, links) for each in (files if isinstance(files, list) else [files])]
    return kept


def _locked(file: dict[str, Any], links: dict[tuple[str, str, int], str]) -> tuple[object, ...]:
    url = str(file.get("url", ""))
    name, digest = filename_in(url), str(file.get("hash", ""))
    # Where JSON alone has the name, the address may be anything.
    name = name if name.endswith((".whl", ".tar.gz", ".zip")) or ".t" in name else ""
    number = sum(each[:2] == (name, digest) for each in links)
    links[name, digest, number] = url
    return name, digest, file.get("size"), str(file.get("upload-time", ""))


def _first_difference(direct: object, proxied: object) -> tuple[object, object]:
    if isinstance(direct, list | tuple) and isinstance(proxied, list | tuple) and len(direct) == len(proxied):
        for before, after in zip(direct, proxied, strict=True):
            if before != after:
                return _first_difference(before, after)
    if isinstance(direct, dict) and isinstance(proxied, dict) and direct.keys() == proxied.keys():
        for key in direct:
            if direct[key] != proxied[key]:
                before, after = _first_difference(direct[key], proxied[key])
                return {key: before}, {key: after}
    return direct, proxied


def _neutral(said: str) -> str:
    # An empty reason and none are the same to everybody, but for these words.
    return _SECONDS.sub("in a moment", _ADDRESS.sub("<address>", said)).replace(" (reason: )", "")
