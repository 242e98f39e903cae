"""The truth behind a simulated mirror: its projects and files, and which of them it delivers to someone who asks alone."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from random import Random

from tests.simulation.virtual_loop import EPOCH
from tests.wheels import make_sdist, make_wheel, metadata_of

ORIGIN = "https://mirror.example.com"
JSON_TYPE = "application/vnd.pypi.simple.v1+json"

NAMES = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron")
VERSIONS = ("0.9", "1.0", "1.1", "2.0", "2.1", "3.0", "3.1rc1", "4.0")
PYTHONS = ("cp310", "cp311", "cp312", "cp313")
PLATFORMS = (
    "macosx_10_13_x86_64",
    "macosx_11_0_arm64",
    "manylinux_2_28_aarch64",
    "manylinux_2_28_x86_64",
    "musllinux_1_2_x86_64",
    "win32",
    "win_amd64",
)
ALWAYS = float("-inf")
NEVER = float("inf")


@cache
def content_of(filename: str) -> bytes:
    """Return the bytes of a file: a real wheel or sdist, whose metadata names the file, so that no other's can pass for it."""
    stem = filename.removesuffix(".tar.gz")
    name, version = stem.rsplit("-", 1) if filename.endswith(".tar.gz") else filename.split("-")[:2]
    edition = "2.2" if filename.endswith(".tar.gz") else "2.1"
    metadata = f"Metadata-Version: {edition}\nName: {name}\nVersion: {version}\nSummary: read from {filename}\n"
    return make_wheel(filename, metadata=metadata) if filename.endswith(".whl") else make_sdist(filename, metadata=metadata)


@cache
def metadata_in(filename: str) -> bytes:
    """Return the core metadata that the wheel called `filename` holds."""
    return metadata_of(content_of(filename))


@cache
def digest_of(filename: str) -> str:
    """Return the SHA-256 of a file's bytes."""
    return sha256(content_of(filename)).hexdigest()


@dataclass(eq=False, slots=True)
class SimFile:
    """A file that the mirror lists. Times are in the loop's seconds.

    It is listed from `listed_from` until `listed_until`, and delivered from `there_from` on, but not from `gone_from` until `back_from`.
    `denied` is how the mirror says that it lacks the file: a status, or "page". `failing` is how it fails for it, which proves no absence.
    `listed_for` and `delivered_to` name the identities (by key) that see it on the page and that get it; None: all do.
    `patchy` says that some of the mirror's pages lack it.
    `young` says that whoever sees the name for the first time then cannot expect the file to be there yet.
    """

    project: str
    filename: str
    version: str
    size_told: int | None
    upload_time: str | None
    core_metadata: bool | str
    url: str
    listed_from: float = ALWAYS
    listed_until: float = NEVER
    there_from: float = ALWAYS
    gone_from: float = NEVER
    back_from: float = NEVER
    denied: int | str = 404
    failing: int | str | None = None
    listed_for: frozenset[str] | None = None
    delivered_to: frozenset[str] | None = None
    young: bool = False
    patchy: bool = False

    def lists(self, who: str, now: float) -> bool:
        """Return whether the page of this identity names the file."""
        return self.listed_from <= now < self.listed_until and (self.listed_for is None or who in self.listed_for)

    def there(self, who: str, now: float) -> bool:
        """Return whether the mirror has the file for this identity."""
        if now < self.there_from or self.gone_from <= now < self.back_from:
            return False
        return self.delivered_to is None or who in self.delivered_to

    def whole_since(self, who: str, now: float) -> float | None:
        """Return since when the file has been there without a break, None where it is not."""
        if not self.there(who, now):
            return None
        return self.back_from if now >= self.back_from else self.there_from

    @property
    def dead(self) -> bool:
        """Tell whether the file is never there, for nobody."""
        return self.there_from == NEVER

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")

    def entry(self) -> dict[str, object]:
        """Return the file's object in a JSON page (PEP 691, 700, 714)."""
        entry: dict[str, object] = {"filename": self.filename, "url": self.url, "hashes": {"sha256": digest_of(self.filename)}}
        if self.size_told is not None:
            entry["size"] = self.size_told
        if self.upload_time is not None:
            entry["upload-time"] = self.upload_time
        if self.core_metadata:
            entry["core-metadata"] = self._told()
        return entry

    def anchor(self) -> str:
        """Return the file's link in an HTML page (PEP 503, 714)."""
        told = self._told()
        flag = "" if not told else ' data-core-metadata="{}"'.format("true" if told is True else f"sha256={told['sha256']}")
        return f'<a href="{self.url}#sha256={digest_of(self.filename)}"{flag}>{self.filename}</a><br/>\n'

    def _told(self) -> bool | dict[str, str]:
        if self.core_metadata == "hash":
            return {"sha256": sha256(metadata_in(self.filename)).hexdigest()}
        return bool(self.core_metadata)


@dataclass(eq=False, slots=True)
class SimProject:
    """A project of the mirror; `form` is json or html.

    `quarantined_from` is when its page becomes an empty one that says so (PEP 792), `withdrawn_from` when it becomes a 404 for all.
    """

    name: str
    form: str
    files: list[SimFile] = field(default_factory=list)
    quarantined_from: float = NEVER
    seen_by: frozenset[str] | None = None
    withdrawn_from: float = NEVER
    _written: dict[tuple[str, ...], tuple[bytes, str]] = field(default_factory=dict)

    def shows(self, who: str) -> bool:
        """Return whether this identity may see the page."""
        return self.seen_by is None or who in self.seen_by

    def listed(self, who: str, now: float) -> list[SimFile]:
        """Return the files that the page of this identity names."""
        return [] if now >= self.quarantined_from else [each for each in self.files if each.lists(who, now)]

    def page(self, who: str, now: float) -> tuple[bytes, str]:
        """Return the page of this identity, and a validator for it."""
        files = self.listed(who, now)
        quarantined = now >= self.quarantined_from
        key = ("quarantined",) if quarantined else tuple([each.filename for each in files])
        found = self._written.get(key)
        if found is None:
            body = (self._json if self.form == "json" else self._html)(files, quarantined=quarantined)
            found = self._written[key] = body, f'"{sha256(body).hexdigest()[:24]}"'
        return found

    def empty_page(self) -> bytes:
        """Return a page that names no file and does not say why."""
        return (self._json if self.form == "json" else self._html)([], quarantined=False)

    def _json(self, files: list[SimFile], *, quarantined: bool) -> bytes:
        page: dict[str, object] = {"meta": {"api-version": "1.1"}, "name": self.name, "files": [each.entry() for each in files]}
        if quarantined:
            page |= {"meta": {"api-version": "1.4"}, "project-status": {"status": "quarantined"}}
        return json.dumps(page).encode()

    def _html(self, files: list[SimFile], *, quarantined: bool) -> bytes:
        mark = '<meta name="pypi:project-status" content="quarantined">' if quarantined else ""
        head = f'<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.0">{mark}'
        title = f"<title>Links for {self.name}</title></head><body><h1>Links for {self.name}</h1>\n"
        return (head + title + "".join(each.anchor() for each in files) + "</body></html>\n").encode()


@dataclass(eq=False, slots=True)
class World:
    """All that the mirror has."""

    projects: dict[str, SimProject]

    @property
    def files(self) -> list[SimFile]:
        return [file for project in self.projects.values() for file in project.files]

    def file(self, filename: str) -> SimFile | None:
        """Return the file of that name."""
        project = self.projects.get(filename.partition("-")[0])
        return None if project is None else next((each for each in project.files if each.filename == filename), None)


def draw_world(rng: Random, size: int | None = None) -> World:
    """Draw a world whose files are all there; of `size` files in one release, where that is given, and another project."""
    if size is not None:
        platforms = [f"{system}_{number}" for number in range(100) for system in ("manylinux_2_28", "macosx_11", "win")]
        large = SimProject("amber", "json")
        for place in range(size):
            filename = f"amber-2.0-cp312-cp312-{platforms[place]}.whl"
            large.files.append(
                SimFile("amber", filename, "2.0", len(content_of(filename)), None, False, f"{ORIGIN}/files/amber/{filename}")
            )
        return World({"amber": large, "birch": _project(rng, "birch", large=False)})
    names = rng.sample(NAMES, rng.choice((1, 2, 2, 2, 3, 3, 4)))
    large = rng.random() < 0.25
    return World({name: _project(rng, name, large=large and place == 0) for place, name in enumerate(names)})


def _project(rng: Random, name: str, *, large: bool) -> SimProject:
    project = SimProject(name, rng.choice(("json", "json", "json", "html")))
    sized, timed = rng.random() < 0.6, rng.random() < 0.4
    told = rng.choice((False, False, True, "hash"))
    count = rng.randint(1, 5) if not large else rng.randint(4, 7)
    for version in sorted(rng.sample(VERSIONS, count)):
        project.files += release(rng, name, version, sized=sized, timed=timed, core_metadata=told, most=26 if large else 9)
    return project


def release(
    rng: Random, name: str, version: str, *, sized: bool, timed: bool, core_metadata: bool | str, most: int, uploaded: float = -90 * 86400.0
) -> list[SimFile]:
    """Draw the files of a release: wheels of one Python for all platforms, of several, or of none; mostly an sdist besides."""
    if rng.random() < 0.3:
        names = [f"{name}-{version}-py3-none-any.whl"]
    else:
        pythons = rng.sample(PYTHONS, rng.randint(1, len(PYTHONS)))
        platforms = rng.sample(PLATFORMS, rng.randint(2, len(PLATFORMS)))
        names = [f"{name}-{version}-{python}-{python}-{platform}.whl" for python in sorted(pythons) for platform in sorted(platforms)]
        names = names[:most]
    if rng.random() < 0.8:
        names.append(f"{name}-{version}.tar.gz")
    moment = datetime.fromtimestamp(EPOCH + uploaded, UTC).isoformat().replace("+00:00", "Z") if timed else None
    made = []
    for filename in names:
        flag = core_metadata if filename.endswith(".whl") else False
        url = f"{ORIGIN}/files/{name}/{filename}" if sized else f"../../files/{name}/{filename}"
        made.append(SimFile(name, filename, version, len(content_of(filename)) if sized else None, moment, flag, url))
    return made
