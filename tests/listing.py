"""What a stand-in mirror lists: its files, and the pages made of them, in the layout of Artifactory."""

import html
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b, sha256
from typing import Any, Literal
from urllib.parse import quote

from proxy.core.page import File, normalised_name
from tests.wheels import make_sdist, make_wheel, metadata_of

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "application/vnd.pypi.simple.v1+html"

Content = Callable[[], bytes]


def content_by_name(filename: str) -> bytes:
    """Gives the bytes that a file of this name has where a test does not care: a real wheel or sdist, or a few words."""
    if filename.endswith(".whl"):
        return make_wheel(filename)
    return make_sdist(filename) if filename.endswith(".tar.gz") else f"the bytes of {filename}\n".encode()


@dataclass(frozen=True)
class Listed:
    """A file that a mirror lists. `content` is None where the mirror lists it but has it not.

    `url` replaces the link, fragment included. The facts that are "auto" are read from the content, and left out where there is none.
    """

    filename: str
    path: str
    content: Content | None
    requires_python: str | None = None
    yanked: bool | str = False
    upload_time: str | None = None
    core_metadata: bool | Literal["hash"] = False
    told_size: int | Literal["auto"] | None = "auto"
    told_hashes: Mapping[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None

    @cached_property
    def _facts(self) -> tuple[int | None, str]:
        if self.content is None:
            return None, sha256(self.filename.encode()).hexdigest()
        data = self.content()
        return len(data), sha256(data).hexdigest()

    @property
    def size(self) -> int | None:
        """The size that the page tells."""
        return self._facts[0] if self.told_size == "auto" else self.told_size

    @property
    def hashes(self) -> Mapping[str, str]:
        """The hashes that the page tells; of a file that is not there, one that could be."""
        return {"sha256": self._facts[1]} if self.told_hashes is None else self.told_hashes

    @property
    def link(self) -> str:
        """The link on the page, relative to it, without fragment."""
        return f"../../packages/packages/{quote(self.path)}" if self.url is None else self.url

    @property
    def metadata(self) -> bytes:
        """The core metadata of the file, empty where there is none to be had."""
        return metadata_of(self.content()) if self.content is not None and self.filename.endswith(".whl") else b""

    @property
    def told_metadata(self) -> bool | dict[str, str]:
        """What the page says of the core metadata (PEP 714)."""
        return {"sha256": sha256(self.metadata).hexdigest()} if self.core_metadata == "hash" else self.core_metadata

    def as_json(self) -> dict[str, Any]:
        """The file's object in a JSON page (PEP 691, 700, 714)."""
        entry: dict[str, Any] = {"filename": self.filename, "url": self.link, "hashes": dict(self.hashes)}
        if self.requires_python is not None:
            entry["requires-python"] = self.requires_python
        if self.size is not None:
            entry["size"] = self.size
        if self.upload_time is not None:
            entry["upload-time"] = self.upload_time
        if self.core_metadata:
            entry["core-metadata"] = entry["dist-info-metadata"] = self.told_metadata
        return entry | {"yanked": self.yanked} | dict(self.extra)

    def as_html(self) -> str:
        """The file's anchor in an HTML page (PEP 503, 592, 714)."""
        attributes = {"href": self.link + "".join(f"#{name}={digest}" for name, digest in list(self.hashes.items())[:1])}
        if self.requires_python is not None:
            attributes["data-requires-python"] = self.requires_python
        if self.yanked is not False:
            attributes["data-yanked"] = "" if self.yanked is True else self.yanked
        if told := self.told_metadata:
            text = "true" if told is True else f"sha256={told['sha256']}"
            attributes["data-core-metadata"] = attributes["data-dist-info-metadata"] = text
        written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
        return f"<a {written}>{html.escape(self.filename)}</a><br/>\n"


@dataclass(frozen=True)
class Written:
    """The bytes of a page, and the headers that go with them."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def etag(self) -> str:
        """A strong ETag of the page."""
        return f'"{sha256(self.body).hexdigest()[:32]}"'


@dataclass
class Project:
    """A project's files in the order in which the page lists them, and its page, written when first asked for.

    `raw` replaces the page by bytes of the test's own.
    """

    name: str
    files: dict[str, Listed] = field(default_factory=dict)
    raw: Written | None = None
    _written: dict[str, Written] = field(default_factory=dict)

    def copy(self) -> "Project":
        """Gives a project that can be changed without changing this one; until then they share what is written."""
        return Project(self.name, dict(self.files), self.raw, self._written)

    def add(self, listed: Listed) -> None:
        """Lists a file, at the end or in the place of the one of that name."""
        self.files[listed.filename] = listed
        self._written = {}

    def remove(self, filename: str) -> Listed:
        """Takes a file from the list."""
        self._written = {}
        return self.files.pop(filename)

    def page(self, content_type: str) -> Written:
        """Gives the page in this form: JSON_TYPE, or either type of HTML."""
        if self.raw is not None:
            return self.raw
        if content_type not in self._written:
            body = self._as_json() if content_type == JSON_TYPE else self._as_html()
            self._written[content_type] = Written(body, content_type)
        return self._written[content_type]

    def _as_json(self) -> bytes:
        page: dict[str, Any] = {"meta": {"api-version": "1.0"}, "name": self.name}
        # PEP 700 asks for the size of every file in version 1.1 of the API.
        if all(each.size is not None for each in self.files.values()):
            page["meta"] = {"api-version": "1.1"}
            versions = (File(filename, "").version_text(self.name) for filename in self.files)
            page["versions"] = list(dict.fromkeys(each for each in versions if each is not None))
        return json.dumps(page | {"files": [each.as_json() for each in self.files.values()]}).encode()

    def _as_html(self) -> bytes:
        head = f"<!DOCTYPE html>\n<html><head><title>Links for {self.name}</title></head><body><h1>Links for {self.name}</h1>\n"
        return (head + "".join(each.as_html() for each in self.files.values()) + "</body></html>\n").encode()


def path_by_name(filename: str) -> str:
    """Gives a path such as those that mirrors copy from PyPI: a digest in three parts, then the filename."""
    digest = blake2b(filename.encode(), digest_size=32).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"


def project_by_name(filename: str) -> str:
    """Gives the normalised name of the project that a file belongs to by its name."""
    stem = filename.split("-", 1)[0] if filename.endswith(".whl") else filename.rpartition("-")[0]
    return normalised_name(stem)


def project_list(names: Iterable[str], content_type: str) -> bytes:
    """Gives the list of all projects: JSON for JSON_TYPE, else HTML."""
    if content_type == JSON_TYPE:
        return json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}).encode()
    anchors = "".join(f'<a href="{name}/">{name}</a><br/>\n' for name in names)
    return f"<!DOCTYPE html>\n<html><body>\n{anchors}</body></html>\n".encode()
