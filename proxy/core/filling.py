"""Filling in what a mirror's page lost, from a page of another index.

Rules for this file: a key is filled only where the mirror's entry lacks it and the other page lists a file with the same SHA-256:
the same bytes were uploaded once, whoever serves them. Nothing is invented, changed, added, taken away or reordered.
"""

import re
from collections.abc import Collection, Generator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.core.page import File, Page

_STEP = 1000
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
"""How upload times are written (PEP 700): ISO 8601 in UTC; uv refuses a whole page for one that is not."""


def sha256_of(file: File) -> str | None:
    """Gives the SHA-256 that the page tells of `file`, in lower-case hexadecimal; None where it tells none."""
    return file.only_hash.sha256 if file.only_hash is not None else file.hashes.get("sha256")


def lacks(page: Page, fields: Collection[str]) -> bool:
    """Whether `page` has a file with a SHA-256 that lacks one of `fields`, named as in JSON pages, such as `upload-time`."""
    names = _attributes(fields)
    return any(getattr(file, name) is None for name in names for file in page.files if file.only_hash or file.rest)


def filled(page: Page, reference: Page, fields: Collection[str]) -> Page:
    """Gives `page` with those of `fields` filled in that it lacks and `reference` tells of the same files; `page` itself if none are."""
    steps = filled_in_steps(page, reference, fields)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Page = end.value
            return outcome


def filled_in_steps(page: Page, reference: Page, fields: Collection[str]) -> Generator[None, None, Page]:
    """As `filled`, yielding after every thousand files."""
    names = _attributes(fields)
    told: dict[str, File] = {}
    for number, file in enumerate(reference.files):
        digest = sha256_of(file)
        if digest is not None:
            told.setdefault(digest, file)
        if number % _STEP == _STEP - 1:
            yield
    by_filename = reference.by_filename
    files: list[File] = []
    for number, file in enumerate(page.files):
        files.append(_filled_file(file, told, by_filename, names))
        if number % _STEP == _STEP - 1:
            yield
    changed = any(before is not after for before, after in zip(page.files, files, strict=True))
    return replace(page, files=tuple(files)) if changed else page


def _filled_file(file: File, told: Mapping[str, File], by_filename: Mapping[str, File], names: Collection[str]) -> File:
    digest = sha256_of(file)
    if digest is None or digest not in told:
        return file
    # Where the same bytes stand under several names, each is its own upload.
    namesake = by_filename.get(file.filename)
    other = namesake if namesake is not None and sha256_of(namesake) == digest else told[digest]
    found: dict[str, Any] = {name: value for name in names if getattr(file, name) is None and (value := _sound(name, other)) is not None}
    return msgspec.structs.replace(file, **found) if found else file


def _attributes(fields: Collection[str]) -> tuple[str, ...]:
    return tuple(field.replace("-", "_") for field in fields)


def _sound(name: str, file: File) -> Any:
    """Gives what `file` says, None where it says nothing that a strict client would read: a page that it had read must not fail for it."""
    value = getattr(file, name)
    if value is None or value is False:
        # Not to be yanked is the same as saying nothing of it (PEP 592).
        return None
    if name == "upload_time":
        return value if _is_moment(value) else None
    if name == "requires_python":
        return value if _is_specifier(value) else None
    return value


def _is_moment(text: str) -> bool:
    if not _MOMENT.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=4096)
def _is_specifier(text: str) -> bool:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True
