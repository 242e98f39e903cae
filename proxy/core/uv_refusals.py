"""The values of a simple-API page that uv refuses, and what each of them costs: the one table for the parser, `check` and the documents.

uv reads a page strictly: one value of the wrong kind can cost every release of the project. `tests/uv_pages` asks the real uv for each
rule, and writes docs/uv-pages.md from them; the parser mends what is refused here.
Sources: the simple repository API of the PyPA specifications (PEP 503, 629, 691, 700, 714, 792), and what uv does.
Rules for this file: pure, and no rule that the real uv was not asked for.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_to_bytes

from proxy.core.parse.hashes import READ_BY_UV, hashes_in_fragment, is_digest
from proxy.core.parse.links import has_scheme, is_base
from proxy.core.parse.moments import is_moment
from proxy.core.parse.specifiers import is_specifiers


class Loss(StrEnum):
    """The part of a page that a value costs at uv."""

    PAGE = "the whole page"
    FILE = "the file"
    VALUE = "the value"


class Members(list[tuple[str, Any]]):
    """The members of a JSON object in their order; a name may come twice."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A `field` of a JSON page, of its entries or of an anchor, the values that uv `takes` there, and the `loss` by any other."""

    field: str
    takes: str
    loss: Loss
    accepts: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A `value` that breaks a rule, shortened."""

    rule: Rule
    value: str

    @property
    def says(self) -> str:
        """Return the field, the value, and the values that uv takes."""
        return f"{self.rule.field} is {self.value}, and uv takes {self.rule.takes}"


_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_OF_OTHER_SCHEME = re.compile(r"(?!https?:)[A-Za-z][A-Za-z0-9+.-]*:", re.IGNORECASE)
_LARGEST_SIZE = 2**64 - 1
_SHOWN = 60
_ABSENT = "missing"
_METADATA_FIELDS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_JSON_BYTE_ORDER_MARK = "\ufeff"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and _HALF_CHARACTER.search(value) is None


def _is_digest_or_null(name: str, value: object) -> bool:
    return value is None or (isinstance(value, str) and is_digest(name, value))


def _are_hashes(value: object) -> bool:
    if isinstance(value, Members):
        names = [name for name, _ in value if name in READ_BY_UV]
        if len(set(names)) < len(names) or not all(_is_text(name) for name, _ in value):
            return False
        return all(_is_digest_or_null(name, digest) for name, digest in value if name in READ_BY_UV)
    if not isinstance(value, list) or len(value) != len(READ_BY_UV):
        return False
    return all(map(_is_digest_or_null, READ_BY_UV, value))


def _is_status(value: object) -> bool:
    if isinstance(value, Members):
        names = [name for name, _ in value if name in {"status", "reason"}]
        if len(set(names)) < len(names) or not all(_is_text(name) for name, _ in value):
            return False
        said = dict(value)
        return _is_text(said.get("status", "")) and (said.get("reason") is None or _is_text(said["reason"]))
    if not isinstance(value, list) or len(value) > 2:
        return False
    return all(map(_is_text, value[:1])) and all(each is None or _is_text(each) for each in value[1:])


FILENAME = Rule("filename", "text", Loss.PAGE, _is_text)
URL = Rule("url", "text", Loss.PAGE, _is_text)
HASHES = Rule(
    "hashes",
    "an object, maybe empty, whose md5, sha256, sha384, sha512 and blake2b are null or as many hexadecimal digits as the hash has",
    Loss.PAGE,
    _are_hashes,
)
REQUIRES_PYTHON = Rule("requires-python", "text or null", Loss.PAGE, lambda value: value is None or _is_text(value))
SPECIFIERS = Rule("requires-python", "version specifiers", Loss.FILE, lambda value: not isinstance(value, str) or is_specifiers(value))
SIZE = Rule("size", "a whole number from 0 to 2**64 - 1", Loss.PAGE, lambda value: type(value) is int and 0 <= value <= _LARGEST_SIZE)
UPLOAD_TIME = Rule(
    "upload-time",
    "a date and time with an offset, such as 2024-01-02T03:04:05Z",
    Loss.PAGE,
    lambda value: isinstance(value, str) and is_moment(value),
)
YANKED = Rule("yanked", "true, false or text", Loss.PAGE, lambda value: isinstance(value, bool) or _is_text(value))
METADATA = Rule(
    "core-metadata",
    "true, false, null or an object as for hashes (and so in dist-info-metadata, where core-metadata says nothing)",
    Loss.PAGE,
    lambda value: value is None or isinstance(value, bool) or (isinstance(value, Members) and _are_hashes(value)),
)
ENTRY = Rule("an entry of files", "an object without half characters in its names", Loss.PAGE, lambda value: isinstance(value, Members))
FILES = Rule("files", "one list", Loss.PAGE, lambda value: isinstance(value, list) and not isinstance(value, Members))
STATUS = Rule("project-status", "one object whose status is text and whose reason is text or null", Loss.PAGE, _is_status)
START = Rule("the page", "JSON that begins without a byte order mark", Loss.PAGE, lambda text: not text.startswith(_JSON_BYTE_ORDER_MARK))

_RULES_OF_ENTRIES: Mapping[str, tuple[Rule, ...]] = {
    "filename": (FILENAME,),
    "url": (URL,),
    "hashes": (HASHES,),
    "requires-python": (REQUIRES_PYTHON, SPECIFIERS),
    "size": (SIZE,),
    "upload-time": (UPLOAD_TIME,),
    "yanked": (YANKED,),
}
_NEEDED = (FILENAME, URL, HASHES)
JSON_RULES = (START, FILES, STATUS, ENTRY, FILENAME, URL, HASHES, REQUIRES_PYTHON, SPECIFIERS, SIZE, UPLOAD_TIME, YANKED, METADATA)


def read_members(body: bytes) -> object:
    """Return what the JSON of a page says, objects as `Members`; bytes that are no UTF-8 become half characters.

    Raises ValueError or RecursionError where it is no JSON.
    """
    text = body.decode(errors="surrogateescape").removeprefix(_JSON_BYTE_ORDER_MARK)
    return json.loads(text, object_pairs_hook=Members, parse_int=_number, parse_constant=_no_number)


def _number(text: str) -> float:
    # Minus nought is no whole number for uv, and thousands of digits are none for Python.
    return float(text) if text == "-0" or len(text) > 40 else int(text)


def _no_number(text: str) -> float:
    raise ValueError(text)


def page_refusals(page: object, body: bytes) -> Iterator[Refusal]:
    """Find what uv refuses of a JSON page besides its entries: `page` is what `read_members` made of `body`."""
    yield from _broken((START,), body[:3].decode(errors="replace"))
    if not isinstance(page, Members):
        return
    for rule in (FILES, STATUS):
        said = [value for name, value in page if name == rule.field]
        if len(said) > 1:
            yield Refusal(rule, "said twice")
        elif said:
            yield from _broken((rule,), said[0])
        elif rule is FILES:
            yield Refusal(rule, _ABSENT)
    if not all(_is_text(name) for name, _ in page):
        yield Refusal(ENTRY, "beside a name with half a character")


def entries_of(page: object) -> list[Any]:
    """Return the entries of a JSON page, an empty list if it has none that can be read."""
    said = [value for name, value in page if name == FILES.field] if isinstance(page, Members) else []
    return said[-1] if said and FILES.accepts(said[-1]) else []


def entry_refusals(entry: object) -> Iterator[Refusal]:
    """Find what uv refuses of an entry of a JSON page, or for what it passes over the file."""
    if not isinstance(entry, Members):
        yield from _broken((ENTRY,), entry)
        return
    said: dict[str, Any] = {}
    for name, value in entry:
        if name in _METADATA_FIELDS:
            # uv looks at the older spellings as long as nothing was said, and at the newer one until it says something.
            if any(said.get(each) is not None for each in _METADATA_FIELDS[: 1 if name == _METADATA_FIELDS[0] else None]):
                continue
            yield from _broken((METADATA,), value)
        elif name in _RULES_OF_ENTRIES:
            yield from _broken([rule for rule in _RULES_OF_ENTRIES[name] if rule.loss is Loss.PAGE], value)
        elif not _is_text(name):
            yield Refusal(ENTRY, "one with half a character in a name")
        said[name] = value
    yield from _broken((SPECIFIERS,), said.get(SPECIFIERS.field))
    yield from (Refusal(rule, _ABSENT) for rule in _NEEDED if rule.field not in said)


def _broken(rules: "tuple[Rule, ...] | list[Rule]", value: object) -> Iterator[Refusal]:
    return (Refusal(rule, shown(value)) for rule in rules if not rule.accepts(value))


def shown(value: object) -> str:
    """Return a value as JSON, shortened and in ASCII."""
    plain = dict(value) if isinstance(value, Members) else value
    text = plain if isinstance(plain, float) and not plain.is_integer() else None
    written = str(text) if text is not None else json.dumps(plain, default=str)
    return written if len(written) <= _SHOWN else f"{written[: _SHOWN - 3]}..."


def _is_fragment(link: str) -> bool:
    try:
        fragment = unquote_to_bytes(link.partition("#")[2]).decode()
    except UnicodeDecodeError:
        return False
    name, mark, digest = fragment.partition("=")
    if not fragment.strip() or not mark or "=" in digest:
        return True
    return name in READ_BY_UV and is_digest(name, digest)


def _is_hash_read(link: str) -> bool:
    fragment = unquote_to_bytes(link.partition("#")[2]).decode(errors="replace")
    return fragment.count("=") == 1 or not hashes_in_fragment(fragment)


def _is_name_in_utf8(link: str) -> bool:
    try:
        unquote_to_bytes(link.partition("#")[0].rpartition("/")[2].partition("?")[0]).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_size(text: str) -> bool:
    return re.fullmatch(r"\+?[0-9]{1,40}", text) is not None and int(text) <= _LARGEST_SIZE


BASE = Rule("<base href>", "an absolute address of http or https", Loss.PAGE, is_base)
FRAGMENT = Rule(
    "the fragment of a link",
    "none, or one hash: md5, sha256, sha384, sha512 or blake2b, =, and its hexadecimal digits",
    Loss.PAGE,
    _is_fragment,
)
NAME_IN_LINK = Rule("the end of a link", "a name in UTF-8", Loss.PAGE, _is_name_in_utf8)
HASH_IN_FRAGMENT = Rule("the hash in a link", "one that stands alone in the fragment", Loss.VALUE, _is_hash_read)
DATA_SPECIFIERS = Rule("data-requires-python", "version specifiers", Loss.FILE, is_specifiers)
DATA_UPLOAD_TIME = Rule("data-upload-time", UPLOAD_TIME.takes, Loss.VALUE, is_moment)
DATA_SIZE = Rule("data-size", SIZE.takes, Loss.VALUE, _is_size)
_RULES_OF_LINKS = (NAME_IN_LINK, FRAGMENT, HASH_IN_FRAGMENT)
_RULES_OF_ATTRIBUTES = (DATA_SPECIFIERS, DATA_UPLOAD_TIME, DATA_SIZE)
HTML_RULES = (BASE, *_RULES_OF_LINKS, *_RULES_OF_ATTRIBUTES)


def base_refusals(href: str | None, links: Iterable[str]) -> Iterator[Refusal]:
    """Find out whether uv refuses an HTML page for the address in its `<base>`, or cannot join its `links` to files to that."""
    if href is not None and not (_OF_OTHER_SCHEME.match(href.strip()) and all(map(has_scheme, links))):
        yield from _broken((BASE,), href)


def anchor_refusals(attributes: Mapping[str, str | None]) -> Iterator[Refusal]:
    """Find what uv refuses of an anchor of an HTML page, or passes over."""
    href = attributes.get("href")
    if not href:
        return
    yield from _broken(_RULES_OF_LINKS, href)
    for rule in _RULES_OF_ATTRIBUTES:
        value = attributes.get(rule.field)
        if value is not None:
            yield from _broken((rule,), value)


HTML_TYPES = frozenset({"application/vnd.pypi.simple.v1+html", "text/html"})


def is_read_as(content_type: str | None, types: frozenset[str]) -> bool:
    """Tell whether uv reads a page of this content type by one of the `types`: it compares the part before the first semicolon as it is."""
    return (content_type or "").strip(" \t").partition(";")[0] in types
