"""What may differ between a page at the mirror and the same page through the proxy, and what may not."""

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tests.differential.contents import address_key
from tests.differential.observations import Difference, Entry, Reading, shown

_IN_JSON_ONLY = {"pip": {"upload-time"}, "pypi-simple": {"size", "upload-time"}, "fields": {"other-keys"}}
"""Facts of an entry that this client finds in JSON only."""
_OF_PAGES_IN_JSON_ONLY = {"versions", "other-keys", "other-meta"}
_MAY_BE_ADDED = {"size", "upload-time", "core-metadata", "core-metadata-hashes", "versions", "api-version"}
"""Facts that the proxy may know where the mirror's page is silent."""
_FILE_LIKE = re.compile(r".\.(?!html?$|php$|aspx?$)[A-Za-z][A-Za-z0-9]{0,9}$|.\.(?:bz2|7z)$", re.IGNORECASE)
_API_VERSION = re.compile(r"1\.[0-9]+")


@dataclass(frozen=True)
class Context:
    """The page that is compared: `stated` is all that the mirror says of an address in any of its forms, `to_html` that the proxy
    sent HTML where the mirror sent JSON, `dropped` the address keys of the files that the proxy has to leave out.
    """

    client: str
    page: str
    form: str
    stated: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    to_html: bool = False
    same_form: bool = True
    dropped: frozenset[str] = frozenset()

    def differs(self, kind: str, subject: str, direct: object = "", proxied: object = "") -> Difference:
        """Return a difference of this page."""
        return Difference(kind, self.client, self.page, self.form, subject, shown(direct), shown(proxied))

    def name_of(self, entry: Entry) -> str:
        """Return the file name of an entry: the one that JSON declares goes before the one in the address."""
        return next((each.name for each in self.stated.get(address_key(entry.url), ())), entry.name)


def is_file(entry: Entry) -> bool:
    """Return whether an entry that no client recognises is a file all the same, which a page must not lose."""
    return urlsplit(entry.url).scheme in {"http", "https"} and _FILE_LIKE.search(entry.name) is not None


def expected(reading: Reading, context: Context) -> list[tuple[str, Entry]]:
    """Return the entries that the proxy's page must have, with the names to find them by, in order."""
    found = []
    for entry in reading.entries:
        wanted = entry.offered and (context.client == "pip" or entry.facts.get("package") or is_file(entry))
        if wanted and address_key(entry.url) not in context.dropped:
            found.append((context.name_of(entry), entry))
    return found


def compare(direct: Reading, proxied: Reading, context: Context) -> tuple[list[Difference], list[tuple[Entry, Entry]]]:
    """Return how two readings differ, and which entries belong to each other."""
    found = list(_page_facts(direct, proxied, context))
    wanted = expected(direct, context)
    possible = Counter(context.name_of(entry) for entry in direct.entries if address_key(entry.url) not in context.dropped)
    dead = {context.name_of(entry) for entry in direct.entries if address_key(entry.url) in context.dropped}
    rest: dict[str, list[Entry]] = {}
    for entry in proxied.entries:
        rest.setdefault(entry.name, []).append(entry)
    pairs, places = [], {id(entry): place for place, entry in enumerate(proxied.entries)}
    for name, entry in wanted:
        if rest.get(name):
            pairs.append((entry, rest[name].pop(0)))
        else:
            found.append(context.differs("entry missing", name, entry.url))
    for name, entries in rest.items():
        more = len(entries) - max(0, possible[name] - sum(each == name for each, _ in wanted))
        if more > 0:
            kind = "dead file kept" if name in dead else "entry added"
            found += [context.differs(kind, name, "", entry.url) for entry in entries[:more] if entry.offered]
    order = [places[id(proxy_side)] for _, proxy_side in pairs]
    if order != sorted(order):
        found.append(context.differs("order", "entries", [each.name for each, _ in pairs], [each.name for each in proxied.entries]))
    for mine, theirs in pairs:
        found += _entry_facts(mine, theirs, context)
    return found, pairs


def _entry_facts(direct: Entry, proxied: Entry, context: Context) -> Iterator[Difference]:
    stated = [each.facts for each in context.stated.get(address_key(direct.url), ())]
    for key in direct.facts.keys() | proxied.facts.keys():
        before, after = direct.facts.get(key), proxied.facts.get(key)
        if before == after or (context.to_html and key in _IN_JSON_ONLY[context.client]):
            continue
        if not _may_become(key, before, after, stated, context):
            yield context.differs(f"fact: {key}", context.name_of(direct), before, after)


def _may_become(key: str, before: object, after: object, stated: Sequence[Mapping[str, object]], context: Context) -> bool:
    if key == "hashes":
        return _hashes_may_become(before, after, stated, context)
    if key == "core-metadata-hashes":
        return not after or not before
    if key == "core-metadata":
        return bool(after)
    if key == "egg":
        return True
    if key == "other-keys":
        return not context.same_form or _without_nulls(before) == _without_nulls(after)
    if key == "requires-python" and isinstance(before, str):
        return _mended_specifier(before, after)
    if key == "upload-time" and after is None:
        return not any(is_moment(each.get("upload-time")) for each in stated)
    if key in _MAY_BE_ADDED and before is None:
        return True
    # What the mirror says in its other form, or in a spelling that this client does not read, may be told.
    return before in {None, False, ""} and any(_same(each.get(key), after) for each in stated) if _hashable(before) else False


def _hashable(value: object) -> bool:
    return value is None or isinstance(value, bool | str | int)


def _same(stated: object, told: object) -> bool:
    return stated == told or (stated is True and told == "")


def _hashes_may_become(before: object, after: object, stated: Sequence[Mapping[str, object]], context: Context) -> bool:
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    known: set[tuple[str, str]] = set()
    for facts in stated:
        hashes = facts.get("hashes")
        known.update(hashes.items() if isinstance(hashes, dict) else ())
    if not after.items() <= known | before.items():
        return False
    if context.same_form and not context.to_html and context.form.startswith("json"):
        return before.items() <= after.items()
    # A fragment holds one hash: it may be any of those that the page states, but none is too few.
    return bool(after) or not before


def _without_nulls(value: object) -> object:
    return {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value


def _mended_specifier(before: str, after: object) -> bool:
    if isinstance(after, str) and after == before.strip():
        return True
    try:
        SpecifierSet(before)
    except InvalidSpecifier:
        return after is None or after == html.unescape(before)
    return False


def is_moment(text: object) -> bool:
    """Return whether `text` is a time with a zone, which clients accept as an upload time."""
    try:
        return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _page_facts(direct: Reading, proxied: Reading, context: Context) -> Iterator[Difference]:
    for key, before in direct.facts.items():
        after = proxied.facts.get(key)
        if before == after or not before or (not context.same_form and key in _OF_PAGES_IN_JSON_ONLY):
            continue
        if key == "api-version" and not (isinstance(before, str) and _API_VERSION.fullmatch(before)):
            continue
        if key == "versions":
            if not _version_texts(before) or (isinstance(after, list) and _version_texts(before) - _version_texts(after) <= set()):
                continue
            if context.dropped:
                continue
        if key in {"other-keys", "other-meta"} and _without_nulls(before) == _without_nulls(after):
            continue
        if key.startswith("project-status") and not isinstance(before, str):
            continue
        yield context.differs(f"page: {key}", key, before, after)


def _version_texts(value: object) -> set[str]:
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()
