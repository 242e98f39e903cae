"""Pages in JSON (PEP 691, 700): each entry keeps its own bytes, made acceptable where a strict client would refuse the page."""

from collections.abc import Generator, Mapping
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from proxy.core.errors import PageUnreadable, UpstreamOverLimit
from proxy.core.page import Fields, File, Page, PlainEntry, Sha256, SourceForm
from proxy.core.parse.hashes import core_metadata, hashes_in_fragment, sound_hashes
from proxy.core.parse.links import Joiner, is_filename

_STEP = 400
_OURS_IN_ORDER = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata", "data-core-metadata")
_OURS = frozenset(_OURS_IN_ORDER)
_encode = msgspec.json.Encoder().encode


_decode_plain_entry = msgspec.json.Decoder(PlainEntry).decode
_decode_entry = msgspec.json.Decoder(dict[str, Any]).decode


class _Body(msgspec.Struct):
    files: list[msgspec.Raw]
    meta: dict[str, Any] = {}
    name: str | None = None
    versions: list[Any] | None = None


def json_steps(body: bytes, said: str, url: str, project: str, link_limit: int) -> Generator[None, None, Page]:
    """Reads a JSON page; see `parse_page_in_steps`."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        content = msgspec.json.decode(body, type=_Body)
        yield
        rest = {key: value for key, value in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items() if key not in _KNOWN}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PageUnreadable(url, said, f"its JSON cannot be read ({error})") from None
    if len(content.files) > link_limit:
        raise UpstreamOverLimit(url, link_limit, "links")
    api_version = str(content.meta.get("api-version") or "1.0")
    if api_version.partition(".")[0] != "1":
        raise PageUnreadable(url, said, f"its API version is {api_version[:20]}, and only 1 is known")
    joiner = Joiner(url)
    files = []
    yield
    for number, raw in enumerate(content.files):
        file = _file(raw, joiner)
        if file is not None:
            files.append(file)
        if number % _STEP == _STEP - 1:
            yield
    versions = None if content.versions is None else tuple(each for each in content.versions if isinstance(each, str))
    meta = {key: value for key, value in content.meta.items() if key != "api-version"}
    return Page(
        project=project,
        name=content.name or project,
        files=tuple(files),
        form=SourceForm.JSON,
        api_version=api_version if api_version[2:].isdigit() else "1.0",
        versions=versions,
        meta=fragment(meta),
        extra=b",".join(_encode(key) + b":" + bytes(value) for key, value in rest.items()),
        skipped=len(content.files) - len(files),
    )


_KNOWN = frozenset({"files", "meta", "name", "versions"})


def fragment(fields: Mapping[str, object]) -> bytes:
    """Gives the JSON of an object without its braces."""
    return bytes(_encode(fields)[1:-1])


def _file(raw: msgspec.Raw, joiner: Joiner) -> File | None:
    try:
        plain = _decode_plain_entry(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _odd_file(raw, joiner)
    address = joiner.join(plain.url)
    if address is None or "#" in plain.url or not is_filename(plain.filename):
        return _odd_file(raw, joiner)
    said: bool | Sha256 | msgspec.UnsetType = plain.core_metadata
    advertised = None if said is msgspec.UNSET else said if isinstance(said, bool) else {"sha256": said.sha256}
    python = None if isinstance(plain.requires_python, msgspec.UnsetType) else plain.requires_python
    size = None if isinstance(plain.size, msgspec.UnsetType) else plain.size
    # The address is kept once, joined.
    force_setattr(plain, "url", "")
    return File(plain.filename, address, plain, size, python, advertised)


def _odd_file(raw: msgspec.Raw, joiner: Joiner) -> File | None:
    try:
        fields: Fields = _decode_entry(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    filename, link = fields.pop("filename", None), fields.pop("url", None)
    if not isinstance(filename, str) or not isinstance(link, str) or not is_filename(filename):
        return None
    link, mark, link_fragment = link.partition("#")
    address = joiner.join(link)
    if address is None:
        return None
    advertised = None
    if not _OURS.isdisjoint(fields):
        advertised = _advertised(fields)
    _make_acceptable(fields)
    if mark and not fields["hashes"]:
        fields["hashes"] = hashes_in_fragment(link_fragment)
    return File(filename, address, fragment(fields), fields.get("size"), fields.get("requires-python"), advertised)


def _advertised(fields: Fields) -> bool | Mapping[str, str] | None:
    """Takes what is said of core metadata out of the fields: the first spelling that says anything, the newest first."""
    said = [fields.pop(key, None) for key in _OURS_IN_ORDER]
    return core_metadata(next((each for each in said if each is not None), None))


def _make_acceptable(fields: Fields) -> None:
    """Takes out what makes uv refuse the whole page: nulls, hashes that cannot be, types that are wrong."""
    if None in fields.values():
        for key in [key for key, value in fields.items() if value is None]:
            del fields[key]
    fields["hashes"] = sound_hashes(fields.get("hashes"))
    size = fields.get("size", 0)
    if type(size) is not int or size < 0:
        del fields["size"]
    if type(fields.get("requires-python", "")) is not str:
        del fields["requires-python"]
    if type(fields.get("upload-time", "")) is not str:
        del fields["upload-time"]
    yanked = fields.get("yanked", False)
    if type(yanked) is not bool and type(yanked) is not str:
        fields["yanked"] = bool(yanked)
    if type(fields.get("gpg-sig", False)) is not bool:
        del fields["gpg-sig"]
