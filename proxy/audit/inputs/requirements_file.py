"""The lines of a requirements file as pip reads them: encodings, comments, continued lines, variables and options.

The parsers on PyPI for this format are either out of care or do not follow `-r`, hashes and continued lines alike.
"""

import codecs
import locale
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxy.audit.wanted import Place, Unreadable

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""The longer ones first: that of UTF-32 begins as that of UTF-16 does."""
_CODING = re.compile(rb"#.*?coding[:=]\s*([-\w.]+)")
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_SHORT = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "-f": "--find-links",
    "-C": "--config-settings",
}
_WITH_VALUE = {
    *_SHORT.values(),
    "--pypi-url",
    "--extra-index-url",
    "--no-binary",
    "--only-binary",
    "--trusted-host",
    "--use-feature",
    "--hash",
    "--global-option",
    "--config-setting",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line: a `requirement` with options of its own, or options for the whole file; those are pairs of long name and value,
    and a word that stands there alone, which pip takes no notice of, has no name.

    Variables are replaced by their values but in `written`, which may be told.
    """

    place: Place
    requirement: str
    options: tuple[tuple[str, str], ...]
    written: str

    def values(self, option: str) -> list[str]:
        """Return the values of an option on this line."""
        return [value for name, value in self.options if name == option]


def read_lines(path: Path) -> Iterator[Line]:
    """Return the lines that are no comments; raises Unreadable."""
    for number, written in _logical_lines(_read(path)):
        requirement, options = _parts(path, number, _VARIABLE.sub(_value, written))
        yield Line(Place(str(path), number), requirement, options, written)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "no file can have this name"
        raise Unreadable(path, f"it cannot be read ({reason.lower()}); check the path") from error
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _decoded(path, content.removeprefix(mark), encoding)
    named = next(filter(None, map(_CODING.match, content.split(b"\n")[:2])), None)
    if named is not None:
        return _decoded(path, content, named[1].decode("ascii", "replace"))
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _decoded(path, content, locale.getpreferredencoding(do_setlocale=False))


def _decoded(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise Unreadable(path, f"no encoding of text is called {encoding[:40]!r}; name another in its coding comment") from error
    except ValueError as error:
        why = f"it is no text in {encoding.upper()[:40]}; save it as UTF-8, or begin it with a comment such as '# coding: latin-1'"
        raise Unreadable(path, why) from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join lines that end with a backslash, and take comments away; the number is that of the first line."""
    parts: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), 1):
        if not parts:
            start = number
        whole = _COMMENT.match(line)
        if line.endswith("\\") and not whole:
            parts.append(line.strip("\\"))
            continue
        parts.append("" if whole else line)
        yield from _stripped(start, parts)
        parts = []
    yield from _stripped(start, parts)


def _stripped(number: int, parts: list[str]) -> Iterator[tuple[int, str]]:
    line = _COMMENT.sub("", "".join(parts)).strip()
    if line:
        yield number, line


def _value(variable: re.Match[str]) -> str:
    return os.environ.get(variable[1]) or variable[0]


def _parts(path: Path, number: int, line: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a line's requirement and its options; these begin at the first word with a hyphen."""
    words = line.split(" ")
    first = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    try:
        options = shlex.split(" ".join(words[first:]))
    except ValueError as error:
        raise Unreadable(path, f"line {number} cannot be read: a quotation mark or a backslash stands alone") from error
    return " ".join(words[:first]).strip(), tuple(_options(options))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, mark, value = word.partition("=")
        elif word.startswith("-"):
            name, value = _SHORT.get(word[:2], word[:2]), word[2:]
            mark = value
        else:
            name, mark, value = "", "=", word
        yield name, value if mark or name not in _WITH_VALUE else next(rest, "")
