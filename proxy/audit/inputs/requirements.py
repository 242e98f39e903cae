"""Requirements: words of the command line, and files as pip reads them (its requirements file format).

The parsers on PyPI for this format are either out of care or do not follow `-r`, hashes and continued lines alike; a line's
requirement is read by `packaging`. Of the options only those matter here that name files or hashes.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from proxy.audit.inputs.toml import read_text
from proxy.audit.platforms import PYTHONS, environments, holds
from proxy.audit.wanted import Order, Pin, Place, Source, Unreadable, Want
from proxy.core.errors import InvalidProjectName
from proxy.core.page import normalised_name

_COMMENT = re.compile(r"(^|\s)#.*$")
_INCLUDES = ("-r", "--requirement")
_DEEPEST = 20


def wants_of_words(words: Sequence[str]) -> Order:
    """Gives what requirements on the command line name, such as `tornado` or `jupyter==1.1.1`; raises InvalidProjectName."""
    wants = [_want(_parsed_word(word), (), None) for word in words]
    return Order(tuple(wants), (Source("names"),), closure=tuple(words), matrix=all(want.pins for want in wants))


def _parsed_word(word: str) -> Requirement:
    try:
        return Requirement(word)
    except InvalidRequirement as error:
        raise InvalidProjectName(word) from error


def read_requirements(path: Path) -> Order:
    """Gives what a requirements file and those that it includes name; raises Unreadable."""
    wants: dict[str, Want] = {}
    closure = []
    for requirement, hashes, place in _requirements(path, _DEEPEST):
        want = _want(requirement, hashes, place)
        known = wants.get(want.project)
        wants[want.project] = want if known is None else Want(want.project, want.spelling, (*known.pins, *want.pins), known.place)
        closure.append(str(requirement))
    pinned = bool(wants) and all(want.pins for want in wants.values())
    return Order(tuple(wants.values()), (Source("requirements", str(path)),), matrix=pinned, closure=tuple(closure))


def _requirements(path: Path, deepest: int) -> Iterator[tuple[Requirement, Sequence[str], Place]]:
    if not deepest:
        raise Unreadable(path, "requirements files include each other")
    for number, line in _logical_lines(read_text(path)):
        text, hashes, included = _parts(path, number, line)
        if included is not None:
            yield from _requirements(path.parent / included, deepest - 1)
        elif text:
            try:
                requirement = Requirement(text)
            except InvalidRequirement as error:
                raise Unreadable(path, f"line {number} is no requirement ({' '.join(str(error).split())[:120]})") from error
            if requirement.url is None:
                yield requirement, hashes, Place(str(path), number)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Joins lines that end with a backslash, and takes comments away; the number is that of the first line."""
    parts: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not parts:
            start = number
        whole = line.lstrip().startswith("#")
        if line.endswith("\\") and not whole:
            parts.append(line[:-1])
            continue
        parts.append("" if whole else _COMMENT.sub("", line))
        yield start, " ".join(parts).strip()
        parts = []
    if parts:
        yield start, " ".join(parts).strip()


def _parts(path: Path, number: int, line: str) -> tuple[str, Sequence[str], str | None]:
    """Gives a line's requirement, its hashes, and the file that it includes."""
    if line.startswith("-"):
        option, _, value = line.replace("=", " ", 1).partition(" ")
        if option in _INCLUDES or (option.startswith("-r") and not option.startswith("--")):
            included = value.strip() or option.removeprefix("-r")
            if included:
                return "", (), included
        # Everything else is about indexes, editable projects and constraints.
        return "", (), None
    text, mark, options = line.partition(" --")
    try:
        words = shlex.split(f"--{options}") if mark else []
    except ValueError as error:
        raise Unreadable(path, f"line {number} cannot be read ({error})") from error
    joined = " ".join(words).replace("--hash=", "--hash ").split()
    hashes = [value.lower() for option, value in pairwise(joined) if option == "--hash"]
    if re.match(r"(\.|/|\w+://|\w+\+)", text) or text.endswith((".whl", ".tar.gz")):
        return "", (), None
    return text.strip(), hashes, None


def _want(requirement: Requirement, hashes: Sequence[str], place: Place | None) -> Want:
    name = normalised_name(requirement.name)
    exact = [each for each in requirement.specifier if each.operator in {"==", "==="} and not each.version.endswith(".*")]
    if not exact:
        return Want(name, requirement.name, (), place)
    marker = requirement.marker
    needed = None if marker is None else frozenset(pair for pair, environment in environments(PYTHONS) if holds(marker, environment))
    return Want(name, requirement.name, (Pin(exact[0].version, place, hashes=frozenset(hashes), needed=needed),), place)
