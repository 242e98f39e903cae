"""Sentences for people on everything that the files name and that was not looked at."""

from collections.abc import Iterator, Sequence

from proxy.audit.wanted import ELSEWHERE, OMISSIONS, LeftOut, Omission, Source

_NAMED = 5


def left_out_lines(sources: Sequence[Source]) -> Iterator[str]:
    """Return a line for each reason why entries were left out, with how many there are and which."""
    entries = [each for source in sources for each in source.left_out]
    unnamed = sum(source.elsewhere for source in sources) - sum(each.omission in ELSEWHERE for each in entries)
    if unnamed > 0:
        come = "packages come" if unnamed > 1 else "package comes"
        yield f"{unnamed} {come} from a folder, a URL, Git or another index, and {'were' if unnamed > 1 else 'was'} left out."
    for omission in Omission:
        found = [each.text for each in entries if each.omission is omission]
        if found:
            yield f"Left out, {OMISSIONS[omission]}: {_some(found)}"


def incomplete_line(entries: Sequence[LeftOut]) -> str:
    """Return a sentence that says what could not be read, and so was not checked; empty if there is no such thing."""
    return f"Not all could be checked: {_some([each.text for each in entries])} may lead to more." if entries else ""


def _some(texts: Sequence[str]) -> str:
    different = list(dict.fromkeys(texts))
    more = len(different) - _NAMED
    return f"{len(different)} ({', '.join(different[:_NAMED])}{f' and {more} more' if more > 0 else ''})"
