"""Quotations of the files that are read, as they may stand in a report: without credentials, also those of misspelled addresses.

Rules for this file: pure.
"""

import re
from collections.abc import Iterator

from proxy.upstream.addresses import shown

ELIDED = "…"
_ADDRESS = re.compile(r"(?:(?P<vcs>git|hg|svn|bzr)\+)?[A-Za-z][A-Za-z0-9+.-]*://(?P<host>[^/?#@\\]*)(?P<path>[^?#\\]*)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(:\d*)?")
_MAY_BEGIN_AN_ADDRESS = re.compile(r"[/\\@:]")
_NAME_OF_AN_OPTION = re.compile(r"--[\w-]+=|-\w(?=\S)|[\w.-]+(\[[^\]]*\])?@(?=[\w+]+://|$)|['\"]")


def quotation(text: str) -> str:
    """Return `text` without credentials, queries and fragments. Behind an address that no client would read, nothing is told."""
    words = text.split()
    if any("@" in each and not _is_readable(each) for each in words):
        # The password may have a blank, so that the words before the one with the @ belong to it.
        end = next(number for number, each in enumerate(words) if each != "@" and _MAY_BEGIN_AN_ADDRESS.search(_value(each)))
        return " ".join((*words[:end], f"{_option(words[end])}{ELIDED}"))
    return " ".join(_told(words))


def _told(words: list[str]) -> Iterator[str]:
    for word in words:
        if "://" in word and not _is_readable(word):
            yield f"{_option(word)}{ELIDED}"
            return
        told = shown(word)
        yield told
        if "?" in word and "//" in word:
            # A query with a blank goes on in the next word.
            return


def _is_readable(word: str) -> bool:
    """True if a word is an @, or an address of which it is certain what its user information is."""
    address = _ADDRESS.fullmatch(shown(_value(word)).strip("'\""))
    if address is None:
        return word == "@" or (_option(word) == word and word.endswith("@"))
    return _HOST.fullmatch(address["host"]) is not None and ("@" not in address["path"] or address["vcs"] is not None)


def _option(word: str) -> str:
    found = _NAME_OF_AN_OPTION.match(word)
    return found[0] if found is not None and "//" not in found[0] else ""


def _value(word: str) -> str:
    return word.removeprefix(_option(word))
