"""Pages in JSON (PEP 691, 700): entries are read by their type, and what a strict client would refuse is made acceptable.

A page of which every entry is as it should be is read at one go, which for thousands of entries is what counts.
"""

import re
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import force_setattr

from proxy.core.errors import PageUnreadable, UpstreamOverLimit
from proxy.core.page import LARGEST, File, Fragment, Page, Sha256, SourceForm
from proxy.core.parse.files import fragment, is_of_later_major, make_file
from proxy.core.parse.hashes import are_digests, core_metadata, hashes_in_fragment, read_by_pip, sound_hashes
from proxy.core.parse.links import Joiner, are_filenames, is_safe, without_breaks
from proxy.core.parse.moments import are_moments, sound_moment
from proxy.core.parse.specifiers import unescaped_specifiers
from proxy.core.twins import told_apart

_STEP = 2000
_SPLIT = 12
_RAW_STEP = 400
_READ_AT_ONE_GO = 6 * 1024 * 1024
_OURS_IN_ORDER = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_encode = msgspec.json.Encoder().encode

_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)
"""An escape in JSON; the group has half a character that its other half does not follow. uv minds none where it does not look."""
_API_VERSION = re.compile(r"1\.[0-9]{1,9}")
_STATUS = "project-status"

Kind = TypeVar("Kind")


class _Listed(File, frozen=True, kw_only=True, gc=False):
    """An entry with the other spellings of core metadata that are seen."""

    dist_info_metadata: bool | Sha256 | None = None
    data_dist_info_metadata: bool | Sha256 | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """A page that says what the specifications know, and nothing else (PEP 691, 700, 708, 792)."""

    files: list[_Listed]
    meta: dict[str, msgspec.Raw] = {}
    name: str | None = None
    versions: list[str] | None = None
    alternate_locations: msgspec.Raw = msgspec.Raw(b"")
    project_status: msgspec.Raw = msgspec.Raw(b"")


class _OddBody(msgspec.Struct):
    """A page of which nothing but the list of files has to be of its type."""

    files: list[msgspec.Raw]
    meta: msgspec.Raw = msgspec.Raw(b"null")
    name: msgspec.Raw = msgspec.Raw(b"null")
    versions: msgspec.Raw = msgspec.Raw(b"null")


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_odd_body = msgspec.json.Decoder(_OddBody).decode
_decode_listed = msgspec.json.Decoder(_Listed).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_value = msgspec.json.Decoder().decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def json_steps(body: bytes, said: str, url: str, project: str, link_limit: int) -> Generator[None, None, Page]:
    """Read a JSON page; see `parse_page_in_steps`."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    plain, odd = _plain_body(body), _OddBody([])
    yield
    if plain is None and _HALF_CHARACTER.search(body):
        whole = _ESCAPE.sub(_whole_character, body)
        if whole != body:
            body, plain = whole, _plain_body(whole)
            yield
    try:
        if plain is None:
            odd = _decode_odd_body(body)
            yield
        besides = _decode_object(body) if plain is None else _said_besides(plain)
    except _UNREADABLE as error:
        raise PageUnreadable(url, said, f"its JSON cannot be read ({error})") from None
    if plain is None:
        yield
    content = plain or _Body([], _one_of(odd.meta, dict[str, msgspec.Raw], {}), *_said_of_itself(odd))
    entries = odd.files if plain is None else plain.files
    if len(entries) > link_limit:
        raise UpstreamOverLimit(url, link_limit, "links")
    api_version = str(_value(content.meta.get("api-version")) or "1.0")
    if is_of_later_major(api_version):
        raise PageUnreadable(url, said, f"its API version is {api_version[:20]}, and only 1 is known")
    if not entries and any(_value(besides.get(key)) for key in ("error", "errors")):
        raise PageUnreadable(url, said, "it is an error in JSON")
    joiner = Joiner(url)
    files = yield from (_made_sound(plain.files, joiner) if plain is not None else _read_one_by_one(odd.files, joiner))
    apart = told_apart(files)
    yield
    return Page(
        project=project,
        name=content.name or project,
        files=apart,
        form=SourceForm.JSON,
        api_version=api_version if _API_VERSION.fullmatch(api_version) else "1.0",
        versions=None if content.versions is None else tuple(content.versions),
        meta=fragment({key: value for key, value in content.meta.items() if key != "api-version"}),
        extra=fragment(_extra(besides)),
        serial=_serial(content.meta),
        skipped=len(entries) - len(files),
    )


def _whole_character(found: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if found[1] else found[0]


def _serial(meta: dict[str, msgspec.Raw]) -> str | None:
    text = str(_value(meta.get("_last-serial")))
    return text if text.isascii() and text.isdigit() else None


def _plain_body(body: bytes) -> _Body | None:
    """Gives the page if every entry is of its type, and the page not so large that reading it at one go would hold up others."""
    try:
        return _decode_body(body) if len(body) <= _READ_AT_ONE_GO else None
    except _UNREADABLE:
        return None


def _one_of(raw: msgspec.Raw, kind: type[Kind], otherwise: Kind) -> Kind:
    try:
        return msgspec.json.decode(raw, type=kind)
    except _UNREADABLE:
        return otherwise


def _said_of_itself(odd: _OddBody) -> tuple[str | None, list[str] | None]:
    versions: list[Any] = _one_of(odd.versions, list[Any], [None])
    named = [each for each in versions if isinstance(each, str)]
    return _one_of(odd.name, str, "") or None, named if named or not versions else None


def _said_besides(body: _Body) -> dict[str, msgspec.Raw]:
    said = {"alternate-locations": body.alternate_locations, "project-status": body.project_status}
    return {key: value for key, value in said.items() if bytes(value)}


def _extra(besides: dict[str, msgspec.Raw]) -> dict[str, object]:
    """Gives the keys that pass on, with a project's status as PEP 792 has it: uv refuses the page for another one."""
    extra: dict[str, object] = {key: value for key, value in besides.items() if key not in _OddBody.__struct_fields__}
    if _STATUS in extra:
        status = _value(besides[_STATUS])
        sound = {key: value for key, value in status.items() if isinstance(value, str)} if isinstance(status, dict) else {}
        extra = {key: value for key, value in extra.items() if key != _STATUS} | ({_STATUS: sound} if sound else {})
    return extra


def _read_one_by_one(entries: Sequence[msgspec.Raw], joiner: Joiner) -> Generator[None, None, list[File]]:
    read: list[File] = []
    for number, raw in enumerate(entries):
        try:
            read.append(_decode_listed(raw))
        except _UNREADABLE:
            odd = _odd_file(raw, joiner)
            if odd is not None:
                read.append(odd)
        if number % _RAW_STEP == _RAW_STEP - 1:
            yield
    return (yield from _made_sound(read, joiner))


def _made_sound(read: Sequence[File], joiner: Joiner) -> Generator[None, None, list[File]]:
    """Joins the links, and looks at what types do not tell: at thousands of entries at one go, as long as nothing is unusual."""
    files: list[File] = []
    for start in range(0, len(read), _STEP):
        files += _some_made_sound(read[start : start + _STEP], joiner)
        yield
    return files


def _some_made_sound(read: Sequence[File], joiner: Joiner) -> Sequence[File]:
    if _all_plain([each for each in read if type(each) is _Listed], joiner):
        return read
    if len(read) == 1:
        odd = _odd_file(_encode(read[0]), joiner)
        return [] if odd is None else [odd]
    step = max(1, len(read) // _SPLIT)
    return [file for start in range(0, len(read), step) for file in _some_made_sound(read[start : start + step], joiner)]


def _all_plain(listed: Sequence[_Listed], joiner: Joiner) -> bool:
    """Joins the links of entries, if nothing about any of them is unusual, and says whether that is so."""
    if not listed:
        return True
    hashes = [each.only_hash.sha256 for each in listed if each.only_hash is not None]
    older = [each for each in listed if each.dist_info_metadata is not None or each.data_dist_info_metadata is not None]
    said = [each.core_metadata for each in listed]
    for each in older:
        said += (each.dist_info_metadata, each.data_dist_info_metadata)
    hashes_of_metadata = [each.sha256 for each in said if each and isinstance(each, Sha256)]
    if len(hashes) < len(listed) or not are_digests(hashes + hashes_of_metadata) or not are_filenames([each.filename for each in listed]):
        return False
    if not are_moments([each.upload_time for each in listed if each.upload_time is not None]):
        return False
    if any("&" in each.requires_python for each in listed if each.requires_python):
        return False
    links = joiner.join_plain([each.url for each in listed])
    if links is None:
        return False
    # The entries were read a moment ago and are nobody else's yet; copies would cost as much as reading them did.
    for each, link in zip(listed, links, strict=True):
        force_setattr(each, "url", link)
    for each in older:
        _unite_spellings(each)
    return True


def _unite_spellings(listed: _Listed) -> None:
    if listed.core_metadata is None:
        older = listed.dist_info_metadata
        force_setattr(listed, "core_metadata", listed.data_dist_info_metadata if older is None else older)
    force_setattr(listed, "dist_info_metadata", None)
    force_setattr(listed, "data_dist_info_metadata", None)


def _odd_file(raw: bytes | msgspec.Raw, joiner: Joiner) -> File | None:
    """Reads an entry leniently: what is wrong is left out, and what is unknown kept as it is."""
    try:
        entry = {key: value for key, value in _decode_object(raw).items() if bytes(value) != b"null"}
    except _UNREADABLE:
        return None
    filename, link = _value(entry.pop("filename", None)), _value(entry.pop("url", None))
    if not isinstance(filename, str) or not isinstance(link, str) or not is_safe(filename):
        return None
    link, mark, link_fragment = without_breaks(link.strip()).partition("#")
    address = joiner.join(link.replace(" ", "%20"))
    if address is None or joiner.is_of_page(address):
        return None
    hashes = sound_hashes(_value(entry.pop("hashes", None)))
    if mark and not hashes:
        hashes = hashes_in_fragment(link_fragment)
    requires_python = _typed(entry, "requires-python", str)
    # In JSON no client reads this spelling, which is that of HTML.
    entry.pop("data-core-metadata", None)
    advertised = [core_metadata(_value(entry.pop(key, None))) for key in _OURS_IN_ORDER]
    return make_file(
        filename,
        address,
        hashes,
        entry,
        size=_typed(entry, "size", int),
        requires_python=None if requires_python is None else unescaped_specifiers(requires_python),
        core_metadata=next((each for each in advertised if each is not None), None),
        upload_time=sound_moment(_value(entry.pop("upload-time", None))),
        yanked=_yanked(_value(entry.pop("yanked", None))),
        gpg_sig=_typed(entry, "gpg-sig", bool),
        provenance=_typed(entry, "provenance", str),
        link_fragment=Fragment(read_by_pip(link_fragment).encode()) or None,
    )


def _typed(entry: dict[str, msgspec.Raw], key: str, kind: type[Kind]) -> Kind | None:
    value = _value(entry.pop(key, None))
    return value if type(value) is kind and not (isinstance(value, int) and not 0 <= value <= LARGEST) else None


def _yanked(value: object) -> bool | str | None:
    return value if value is None or isinstance(value, str) else bool(value)


def _value(raw: msgspec.Raw | None) -> Any:
    """Gives what JSON says, None where there is none that can be read."""
    try:
        return None if raw is None else _decode_value(raw)
    except _UNREADABLE:
        return None
