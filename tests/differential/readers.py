"""Clients that read pages in this process: pip's link parser and evaluator, pypi-simple, and every field by its name.

The last one stands for what no library here reads, above all what uv reads of HTML: `data-upload-time` and `data-size`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from email.message import Message
from functools import cache
from html.parser import HTMLParser
from itertools import zip_longest
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from pip._internal.index.collector import IndexContent, parse_links
from pip._internal.index.package_finder import LinkEvaluator, LinkType
from pip._internal.models.link import _SUPPORTED_HASHES, Link
from pip._internal.models.target_python import TargetPython
from pypi_simple import DistributionPackage, ProjectPage, UnparsableFilenameError, parse_filename

from tests.differential.contents import filename_in
from tests.differential.observations import Entry, Reader, Reading, Response, Unreadable

KNOWN_HASHES = frozenset(hashlib.algorithms_guaranteed)
_DIGITS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128}
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_UNUSED_BY_PIP = {LinkType.format_unsupported, LinkType.format_invalid, LinkType.different_project}
_METADATA_KEYS = ("core-metadata", "dist-info-metadata")
_PAGE_KEYS = {"files", "meta", "name", "versions", "alternate-locations", "project-status"}
_ENTRY_KEYS = {
    *("filename", "url", "hashes", "requires-python", "size", "upload-time", "yanked", "gpg-sig", "provenance", "core-metadata"),
    *("dist-info-metadata", "data-dist-info-metadata"),
}


def sound_hashes(hashes: object) -> dict[str, str]:
    """Return the hashes that a client can check, in lower case: names that hashlib guarantees, digests of the right length."""
    if not isinstance(hashes, Mapping):
        return {}
    found = {}
    for name, digest in hashes.items():
        lowered = digest.lower() if isinstance(digest, str) and name in KNOWN_HASHES else ""
        if _HEXADECIMAL.fullmatch(lowered) and len(lowered) == _DIGITS.get(name, len(lowered)):
            found[str(name)] = lowered
    return found


def _answered(response: Response) -> None:
    if response.status != 200:
        raise Unreadable(f"status {response.status}: {response.body[:200].decode(errors='replace')}")
    if response.media_type not in {"application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html", "text/html"}:
        raise Unreadable(f"no page by its type: {response.media_type}")


def _charset(response: Response) -> str | None:
    message = Message()
    message["content-type"] = response.headers.get("content-type", "")
    charset = message.get_param("charset")
    return str(charset) if charset else None


@cache
def _evaluator(project: str) -> LinkEvaluator:
    formats = frozenset({"binary", "source"})
    return LinkEvaluator(project, canonicalize_name(project), formats, TargetPython(), allow_yanked=True)


def read_as_pip(response: Response, project: str) -> Reading:
    """Read a page as pip does, and evaluate each link for this interpreter."""
    _answered(response)
    page = IndexContent(response.body, response.headers["content-type"], _charset(response), response.url, cache_link_parsing=False)
    try:
        links = list(parse_links(page))
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    # Of a page in JSON, pip takes the name from the address; the key tells entries apart all the same.
    names = [each.get("filename") for each in json.loads(response.body)["files"] if each.get("url") is not None] if response.is_json else []
    return Reading([_pip_entry(link, project, name) for link, name in zip_longest(links, names)])


def _pip_entry(link: Link, project: str, declared: object) -> Entry:
    evaluated, detail = _evaluator(project).evaluate_link(link)
    facts: dict[str, object] = {
        "hashes": {name: digest for name, digest in sound_hashes(link._hashes).items() if name in _SUPPORTED_HASHES},
        "yanked": link.yanked_reason,
        "requires-python": link.requires_python,
        "core-metadata": link.metadata_file_data is not None,
        "upload-time": link.upload_time,
        "candidate": (evaluated.name, detail),
        "egg": link.egg_fragment,
        "subdirectory": link.subdirectory_fragment,
    }
    if link.metadata_file_data is not None:
        facts["core-metadata-hashes"] = sound_hashes(link.metadata_file_data.hashes)
    return Entry(
        declared if isinstance(declared, str) else link.filename, link.url_without_fragment, facts, evaluated not in _UNUSED_BY_PIP
    )


def read_as_pypi_simple(response: Response, project: str) -> Reading:
    """Read a page by pypi-simple."""
    _answered(response)
    try:
        if response.is_json:
            page = ProjectPage.from_json_data(json.loads(response.body), response.url)
        else:
            page = ProjectPage.from_html(project, response.body, response.url, _charset(response))
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    serial = page.last_serial or response.headers.get("x-pypi-last-serial")
    facts: dict[str, object] = {
        "api-version": page.repository_version,
        "last-serial": serial,
        "versions": page.versions,
        "tracks": page.tracks,
        "alternate-locations": page.alternate_locations,
        "project-status": None if page.status is None else page.status.value,
        "project-status-reason": page.status_reason,
    }
    return Reading([_pypi_simple_entry(each, project, response.is_json) for each in page.packages], facts)


def _pypi_simple_entry(package: DistributionPackage, project: str, from_json: bool) -> Entry:
    # The text of an anchor may be anything: its address tells the file.
    name = package.filename if from_json else filename_in(package.url)
    try:
        parsed = parse_filename(name, project)
    except UnparsableFilenameError:
        parsed = None
    facts: dict[str, object] = {
        "hashes": sound_hashes(package.digests),
        "requires-python": package.requires_python,
        "yanked": (package.is_yanked, package.yanked_reason or ""),
        "gpg-sig": package.has_sig,
        "core-metadata": bool(package.has_metadata),
        "size": package.size,
        "upload-time": package.upload_time,
        "provenance": package.provenance_url,
        "package": parsed,
    }
    if package.has_metadata:
        facts["core-metadata-hashes"] = sound_hashes(package.metadata_digests)
    return Entry(name, package.url, facts)


def read_fields(response: Response, project: str) -> Reading:
    """Read every field of a page by its name, in JSON by its keys, in HTML by its attributes."""
    _answered(response)
    try:
        return _json_fields(response) if response.is_json else _html_fields(response)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _json_fields(response: Response) -> Reading:
    page = json.loads(response.body)
    meta, status = page.get("meta") or {}, page.get("project-status")
    status = status if isinstance(status, dict) else {}
    facts = {
        "api-version": meta.get("api-version"),
        "tracks": meta.get("tracks"),
        "alternate-locations": page.get("alternate-locations"),
        "versions": page.get("versions"),
        "project-status": status.get("status"),
        "project-status-reason": status.get("reason"),
        "last-serial": response.headers.get("x-pypi-last-serial"),
        "other-keys": {key: value for key, value in page.items() if key not in _PAGE_KEYS},
        "other-meta": {key: value for key, value in meta.items() if key not in {"api-version", "tracks"}},
    }
    entries = [_json_entry(each, response.url) for each in page["files"]]
    return Reading([each for each in entries if each is not None], facts)


def _json_entry(listed: object, base: str) -> Entry | None:
    if not isinstance(listed, dict) or not isinstance(listed.get("url"), str) or not isinstance(listed.get("filename"), str):
        return None
    link, fragment = urldefrag(listed["url"])
    hashes = listed.get("hashes")
    size = listed.get("size")
    facts = {
        "hashes": sound_hashes(hashes or fragment_hashes(fragment)),
        "requires-python": _text(listed.get("requires-python")),
        "yanked": _yanked(listed.get("yanked")),
        "gpg-sig": listed.get("gpg-sig") if isinstance(listed.get("gpg-sig"), bool) else None,
        "size": size if type(size) is int and 0 <= size < 2**63 else None,
        "upload-time": _text(listed.get("upload-time")),
        "provenance": _text(listed.get("provenance")),
        "core-metadata": bool(next((listed[key] for key in _METADATA_KEYS if listed.get(key) is not None), False)),
        "other-keys": {key: value for key, value in listed.items() if key not in _ENTRY_KEYS},
        **_distribution(listed["filename"]),
    }
    return Entry(listed["filename"], urljoin(base, link), facts)


def _html_fields(response: Response) -> Reading:
    document = _Document()
    document.feed(response.body.decode(_charset(response) or "utf-8", errors="replace"))
    document.close()
    base = urljoin(response.url, document.base.strip()) if document.base else response.url
    meta = document.meta
    facts = {
        "api-version": next(iter(meta.get("pypi:repository-version", [])), None),
        "tracks": meta.get("pypi:tracks"),
        "alternate-locations": meta.get("pypi:alternate-locations"),
        "project-status": next(iter(meta.get("pypi:project-status", [])), None),
        "project-status-reason": next(iter(meta.get("pypi:project-status-reason", [])), None),
        "last-serial": response.headers.get("x-pypi-last-serial"),
    }
    entries = [_html_entry(attributes, base) for attributes in document.anchors]
    return Reading([each for each in entries if each is not None], facts)


def _html_entry(attributes: dict[str, str | None], base: str) -> Entry | None:
    href = (attributes.get("href") or "").strip()
    if not href:
        return None
    link, _, fragment = href.partition("#")
    size = attributes.get("data-size") or ""
    signed = (attributes.get("data-gpg-sig") or "").lower()
    url = urljoin(base, link)
    name = filename_in(url)
    facts = {
        "hashes": sound_hashes(fragment_hashes(fragment)),
        "requires-python": attributes.get("data-requires-python") or None,
        "yanked": _yanked(attributes["data-yanked"] or True) if "data-yanked" in attributes else None,
        "gpg-sig": {"true": True, "false": False}.get(signed),
        "size": int(size) if size.isdecimal() and size.isascii() else None,
        "upload-time": attributes.get("data-upload-time") or None,
        "provenance": attributes.get("data-provenance") or None,
        "core-metadata": (attributes.get("data-core-metadata") or attributes.get("data-dist-info-metadata") or "false").lower() != "false",
        **_distribution(name),
    }
    return Entry(name, url, facts)


def _distribution(filename: str) -> dict[str, object]:
    """Return what `packaging` reads in the name of a wheel or an sdist."""
    try:
        if filename.endswith(".whl"):
            name, version, build, tags = parse_wheel_filename(filename)
            return {"wheel": (name, str(version), build, frozenset(map(str, tags)))}
        if filename.endswith((".tar.gz", ".zip")):
            name, version = parse_sdist_filename(filename)
            return {"sdist": (name, str(version))}
    except ValueError:
        pass
    return {}


def fragment_hashes(fragment: str) -> dict[str, str]:
    """Return `name=value` and `name-value` of a fragment, also where the sign in between is percent-escaped."""
    found = {}
    for part in unquote(fragment).split("&"):
        name, sign, value = part.partition("=" if "=" in part else "-")
        if sign:
            found[name] = value
    return found


def _yanked(said: Any) -> bool | str | None:
    """Return the reason, True where it is yanked without one, None where it is not."""
    return said if isinstance(said, str) and said else True if said or said == "" else None


def _text(said: Any) -> str | None:
    return said if isinstance(said, str) and said else None


class _Document(HTMLParser):
    """The anchors of a page, its first base, and its meta elements by name."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base: str | None = None
        self.anchors: list[dict[str, str | None]] = []
        self.meta: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element; of an attribute that is given twice the first counts, as the HTML standard has it."""
        attributes = dict(reversed(attrs))
        if tag == "a":
            self.anchors.append(attributes)
        elif tag == "base" and self.base is None and attributes.get("href"):
            self.base = attributes["href"]
        elif tag == "meta" and attributes.get("name"):
            self.meta.setdefault(str(attributes["name"]).strip().lower(), []).append(attributes.get("content") or "")


READERS: dict[str, Reader] = {"pip": read_as_pip, "pypi-simple": read_as_pypi_simple, "fields": read_fields}
