"""The differences that there may be between a page at the mirror and the same page through the proxy."""

import html
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from tests.differential.contents import address_key, filename_in
from tests.differential.observations import Difference, Entry, Reading, shown

_IN_JSON_ONLY = {"pip": {"upload-time"}, "pypi-simple": {"size", "upload-time"}, "fields": {"other-keys"}}
"""Facts of an entry that this client finds in JSON only."""
_OF_PAGES_IN_JSON_ONLY = {"versions", "other-keys", "other-meta"}
_MAY_BE_ADDED = {"size", "upload-time", "core-metadata", "core-metadata-hashes", "versions", "api-version"}
"""Facts that the proxy may know where the mirror's page is silent."""
_FILE_LIKE = re.compile(
    r"[^\\/]+\.(?:whl|zip|egg|exe|msi|rpm|deb|dmg|tar(?:\.[a-z0-9]+)?|t[a-z]z2?|[a-z]?zma|zst|gz|bz2|xz|asc|sig|json|metadata|provenance)",
    re.IGNORECASE,
)
_SOURCE = re.compile(r"\.(?:zip|tar(?:\.[a-z0-9]+)?|t[a-z]z2?)$", re.IGNORECASE)
_FETCHED = frozenset({"http", "https", "git+https", "git+http", "git+ssh", "hg+https", "hg+http", "svn+https", "bzr+https"})
_API_VERSION = re.compile(r"1\.[0-9]+")


@dataclass(frozen=True)
class Context:
    """The page that is compared.

    `stated` is all that the mirror says of an address in any of its forms. `to_html` says that the proxy sent HTML where the mirror
    sent JSON, `to_json` the other way round, `in_json` that the proxy sent JSON. `dropped` are the address keys of the files that the
    proxy has to leave out, `headers` the names of the headers that the mirror sent.
    """

    client: str
    page: str
    form: str
    stated: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    to_html: bool = False
    to_json: bool = False
    in_json: bool = False
    same_form: bool = True
    dropped: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()

    def differs(self, kind: str, subject: str, direct: object = "", proxied: object = "") -> Difference:
        """Return a difference of this page."""
        return Difference(kind, self.client, self.page, self.form, subject, shown(direct), shown(proxied))


def is_file(entry: Entry) -> bool:
    """Return whether an entry that no client recognises is a file all the same, which a page must not lose."""
    return _FILE_LIKE.fullmatch(entry.name) is not None


def is_known(entry: Entry) -> bool:
    """Return whether a client tells by the name that an entry is a distribution."""
    return any(entry.facts.get(key) for key in ("candidate", "package", "wheel", "sdist"))


def expected(reading: Reading, context: Context) -> list[Entry]:
    """Return the entries that the proxy's page must have, in order."""
    found = []
    for entry in reading.entries:
        wanted = entry.offered and (context.client == "pip" or is_known(entry) or is_file(entry))
        scheme = urlsplit(entry.url).scheme
        # A link to a repository has no place in JSON: there an address is one to download from.
        wanted = wanted and scheme in _FETCHED and not (context.to_json and "+" in scheme)
        if wanted and "\\" not in entry.name and address_key(entry.url) not in context.dropped:
            found.append(entry)
    return found


def compare(direct: Reading, proxied: Reading, context: Context) -> tuple[list[Difference], list[tuple[Entry, Entry]]]:
    """Return how two readings differ, and which entries belong to each other."""
    found = list(_page_facts(direct, proxied, context))
    wanted = {id(entry) for entry in expected(direct, context)}
    alive = [entry for entry in direct.entries if address_key(entry.url) not in context.dropped]
    dead = {entry.name for entry in direct.entries} - {entry.name for entry in alive}
    pairs: list[tuple[Entry, Entry]] = []
    for name, (mine, theirs) in _by_name(alive, proxied.entries).items():
        belonging = _paired(mine, theirs, wanted, context)
        for entry in mine:
            other = belonging.pop(id(entry), None)
            if id(entry) not in wanted:
                continue
            if other is None:
                found.append(context.differs("entry missing" if is_known(entry) else "unknown file left out", name, entry.url))
            else:
                pairs.append((entry, other))
        more = len(theirs) - len(mine)
        kind = "dead file kept" if name in dead else "entry added"
        found += [context.differs(kind, name, "", entry.url) for entry in theirs[len(theirs) - max(0, more) :] if entry.offered]
    found += _order(pairs, direct, proxied, context)
    for before, after in pairs:
        found += _entry_facts(before, after, context)
    return found, pairs


def _by_name(direct: Sequence[Entry], proxied: Sequence[Entry]) -> dict[str, tuple[list[Entry], list[Entry]]]:
    names: dict[str, tuple[list[Entry], list[Entry]]] = {}
    for entry in direct:
        names.setdefault(entry.name.strip(), ([], []))[0].append(entry)
    for entry in proxied:
        names.setdefault(entry.name, ([], []))[1].append(entry)
    return names


def _paired(mine: Sequence[Entry], theirs: Sequence[Entry], wanted: Collection[int], context: Context) -> dict[int, Entry]:
    """Return which of `theirs` belongs to which of `mine`, all of one name: in order, or where some are missing the most alike."""
    if len(mine) <= len(theirs):
        return {id(before): after for before, after in zip(mine, theirs, strict=False)}
    belonging: dict[int, Entry] = {}
    for after in theirs:
        free = [before for before in mine if id(before) not in belonging]
        best = min(free, key=lambda before: (len(list(_entry_facts(before, after, context))), id(before) not in wanted))
        belonging[id(best)] = after
    return belonging


def _order(pairs: Sequence[tuple[Entry, Entry]], direct: Reading, proxied: Reading, context: Context) -> Iterator[Difference]:
    mine = {id(entry): place for place, entry in enumerate(direct.entries)}
    theirs = {id(entry): place for place, entry in enumerate(proxied.entries)}
    # Where links to repositories stand among files is nothing that a client goes by.
    files = [pair for pair in pairs if "+" not in urlsplit(pair[0].url).scheme]
    files.sort(key=lambda pair: mine[id(pair[0])])
    order = [theirs[id(after)] for _, after in files]
    if order != sorted(order):
        names = [entry.name for entry, _ in files]
        yield context.differs("order", "entries", names, [entry.name for entry in proxied.entries])


def _entry_facts(direct: Entry, proxied: Entry, context: Context) -> Iterator[Difference]:
    stated = [each.facts for each in context.stated.get(address_key(direct.url), ())]
    for key in direct.facts.keys() | proxied.facts.keys():
        before, after = direct.facts.get(key), proxied.facts.get(key)
        if before == after or (not before and not after) or (context.to_html and key in _IN_JSON_ONLY[context.client]):
            continue
        if not _may_become(direct, key, after, stated, context):
            yield context.differs(f"fact: {key}", direct.name, before, after)


def _may_become(direct: Entry, key: str, after: object, stated: Sequence[Mapping[str, object]], context: Context) -> bool:
    before = direct.facts.get(key)
    if key == "hashes":
        return _hashes_may_become(before, after, stated, context)
    if key == "core-metadata-hashes":
        return not after or not before
    if key == "core-metadata":
        # pip takes "false" in HTML for a yes, asks, and fails.
        return bool(after) or not _has_metadata(direct.name) or not any(each.get(key) for each in stated)
    if key == "egg":
        return True
    if key == "candidate" and direct.name != filename_in(direct.url):
        # pip goes by the name in the address, which JSON need not repeat.
        return True
    if key == "other-keys":
        return not context.same_form or _without_nulls(before) == _without_nulls(after)
    if key == "requires-python" and isinstance(before, str):
        return _mended_specifier(before, after)
    if key == "upload-time" and after is None:
        return not is_moment(before) and not any(is_moment(each.get("upload-time")) for each in stated)
    if key in _MAY_BE_ADDED and before is None:
        return True
    # What the mirror says in its other form, or in a spelling that this client does not read, may be told.
    return before in {None, False, ""} and any(_same(each.get(key), after) for each in stated) if _hashable(before) else False


def _has_metadata(filename: str) -> bool:
    """Return whether anybody asks for the metadata of a file: it is a wheel by its name, or a source distribution."""
    if not filename.endswith(".whl"):
        return _SOURCE.search(filename) is not None
    try:
        parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    return True


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
        if not _may_be_said(key, before, after, context, _lacks_keys(direct, proxied)):
            yield context.differs(f"page: {key}", key, before, after)


def _may_be_said(key: str, before: object, after: object, context: Context, lacks_keys: bool) -> bool:
    """Return whether of a whole page `after` may be said for `before`; `lacks_keys` says that its JSON cannot be of api-version 1.1."""
    if key == "api-version":
        known = isinstance(before, str) and _API_VERSION.fullmatch(before) is not None
        return not known or (after == "1.0" and context.in_json and lacks_keys)
    if key == "versions":
        return bool(context.dropped) or _version_texts(before) <= _version_texts(after)
    if key == "last-serial":
        return context.to_html and "x-pypi-last-serial" not in context.headers
    if key in {"other-keys", "other-meta"}:
        return _without_nulls(before) == _without_nulls(after)
    return key.startswith("project-status") and not isinstance(before, str)


def _lacks_keys(direct: Reading, proxied: Reading) -> bool:
    """Return whether the page lacks what JSON must hold from api-version 1.1 on (PEP 700), whatever version the mirror claims."""
    return not direct.facts.get("versions") or any(entry.facts.get("size") is None for entry in proxied.entries)


def _version_texts(value: object) -> set[str]:
    return {each for each in value if isinstance(each, str)} if isinstance(value, list) else set()
