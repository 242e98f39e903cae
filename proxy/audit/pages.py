"""What is wrong with a page as the mirror sent it: what the parser had to forgive, and what a strict client misses.

uv reads a page strictly: one entry that is not as it should be costs the whole page (`core.uv_refusals`).
Sources: the simple repository API of the PyPA specifications (PEP 503, 691, 700).
Rules for this file: pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from proxy.audit.findings import Exchange, Fault, Finding, Level
from proxy.audit.refused_values import RefusedValue, names_of_readable_entries, refused_in_html, refused_in_json
from proxy.audit.wanted import Place
from proxy.core.page import File, Page, SourceForm
from proxy.core.parse.hashes import READ_BY_UV
from proxy.core.parse.links import is_safe
from proxy.core.uv_refusals import DATA_SIZE, HTML_TYPES, Loss, is_read_as

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_NAMED = 3


def page_findings(page: Page, body: bytes, content_type: str | None, exchange: Exchange, place: Place | None = None) -> list[Finding]:
    """Return what is wrong with `page`, read from `body` that came as `content_type`; `place` is where the project is wanted."""
    found = [*_label(page, content_type), *_forgiven(page, body), *_lacking(page)]
    return [replace(finding, exchange=exchange, place=place) for finding in found]


def _label(page: Page, content_type: str | None) -> Iterator[Finding]:
    if not is_read_as(content_type, frozenset({JSON_TYPE}) if page.form is SourceForm.JSON else HTML_TYPES):
        said = (content_type or "")[:60] or "no content type"
        says = f"it is {page.form.value.upper()} and comes as {said}: uv goes by the type, and refuses or misreads it"
        yield Finding(Level.ERROR, Fault.PAGE_MISLABELLED, page.project, says, cause="mislabelled")
    if page.form is SourceForm.HTML and not any(file.upload_time for file in page.files):
        says = "the mirror has the page in HTML only, and without upload times: exclude-newer excludes every file"
        yield Finding(Level.NOTE, Fault.PAGE_HTML_ONLY, page.project, says, cause="html-only")
    if not page.files:
        yield Finding(Level.WARNING, Fault.PAGE_EMPTY, page.project, "it lists no file at all", cause="empty")


def _forgiven(page: Page, body: bytes) -> Iterator[Finding]:
    if page.form is SourceForm.HTML:
        if page.skipped:
            says = f"{page.skipped} of its links lead to no distribution file"
            yield Finding(Level.NOTE, Fault.PAGE_ENTRY_SKIPPED, page.project, says, cause="malformed")
        refused = list(refused_in_html(body, page.project))
    else:
        yield from _skipped(page, body)
        refused = list(refused_in_json(body))
    of_page = [each for each in refused if each.refusal.rule.loss is Loss.PAGE]
    for fault, found in (
        (Fault.PAGE_INVALID, [each for each in of_page if not each.filename]),
        (Fault.PAGE_ENTRY_INVALID, [each for each in of_page if each.filename]),
    ):
        if found:
            some = "it" if fault is Fault.PAGE_INVALID else f"{_files_in(found)} of its entries"
            says = f"uv refuses the whole page for values in {some} ({_examples(found)})"
            yield Finding(Level.ERROR, fault, page.project, says, cause="malformed")
    found = [each for each in refused if each.refusal.rule.loss is Loss.FILE]
    if found:
        says = f"uv passes over {_files_in(found)} of its files for a value that it cannot read ({_examples(found)})"
        yield Finding(Level.ERROR, Fault.PAGE_FILE_IGNORED, page.project, says, cause="malformed")
    lost = [each for each in refused if each.refusal.rule.loss is Loss.VALUE]
    for level, found in (
        (Level.WARNING, [each for each in lost if each.refusal.rule is not DATA_SIZE]),
        (Level.NOTE, [each for each in lost if each.refusal.rule is DATA_SIZE]),
    ):
        if found:
            says = f"uv passes over a value of {_files_in(found)} of its files that it cannot read ({_examples(found)})"
            yield Finding(level, Fault.PAGE_VALUE_IGNORED, page.project, says, cause="malformed")


def _skipped(page: Page, body: bytes) -> Iterator[Finding]:
    """Find the entries that name no file, or no address that can be used; uv passes over a name that it does not know as a file's."""
    if not page.skipped:
        return
    nameless = sum(not is_safe(name) for name in names_of_readable_entries(body))
    unusable = page.skipped - nameless
    if unusable:
        says = f"{unusable} of its entries name no file or no address that can be used"
        yield Finding(Level.ERROR, Fault.PAGE_ENTRY_SKIPPED, page.project, says, cause="malformed")
    if nameless:
        says = f"{nameless} of its entries have names that no file can have"
        yield Finding(Level.WARNING, Fault.PAGE_ENTRY_SKIPPED, page.project, says, cause="malformed")


def _files_in(found: Iterable[RefusedValue]) -> int:
    return len({each.filename for each in found})


def _examples(found: Iterable[RefusedValue]) -> str:
    """Return one example for each kind of value, a few of them."""
    first = {each.refusal.rule.field: each for each in reversed(list(found))}
    some = list(reversed(first.values()))[:_NAMED]
    return "; ".join(f"{each.filename[:100]}: {each.refusal.says}".removeprefix(": ") for each in some)


def _lacking(page: Page) -> Iterator[Finding]:
    """What the entries do not say although the form has a place for it."""
    json = page.form is SourceForm.JSON
    asked: list[tuple[Fault, Level, str, Callable[[File], bool]]] = [
        (Fault.PAGE_LACKS_HASHES, Level.WARNING, "a hash that uv knows: what is downloaded cannot be checked", _lacks_hashes)
    ]
    if json:
        asked += [
            (Fault.PAGE_LACKS_UPLOAD_TIME, Level.WARNING, "an upload time: exclude-newer excludes them", lambda file: not file.upload_time),
            (Fault.PAGE_LACKS_SIZE, Level.NOTE, "a size: a truncated file cannot be told", lambda file: file.size is None),
        ]
    files = [file for file in page.files if file.probeable]
    for fault, level, what, lacks in asked:
        lacking = [file for file in files if lacks(file)]
        if lacking:
            share = "none of its files has" if len(lacking) == len(files) else f"{len(lacking)} of its {len(files)} files do not have"
            example = "" if len(lacking) == len(files) else f" (such as {lacking[0].filename})"
            yield Finding(level, fault, page.project, f"{share} {what}{example}", cause="lacking")


def _lacks_hashes(file: File) -> bool:
    return file.only_hash is None and file.hashes.keys().isdisjoint(READ_BY_UV)
