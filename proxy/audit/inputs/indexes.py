"""The indexes that a file names, and which of them stands for the mirror that is looked at."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.audit.inputs.quotations import quotation
from proxy.core.index_urls import same_mirror


@dataclass(frozen=True, slots=True)
class Index:
    """An index or a folder with files. An `explicit` one is asked only for what is bound to it; only one is the `default`."""

    url: str
    name: str = ""
    explicit: bool = False
    default: bool = False

    def __str__(self) -> str:
        return quotation(self.name or self.url)


def mirror_among(indexes: Iterable[Index], upstream: str) -> Index | None:
    """Return the index that stands for the mirror at `upstream`, None if none does.

    That is the one with its address, else the default: a file made for a proxy has the proxy's address, and one made for everybody that of
    PyPI. Any other index is one beside it, for all that is known.
    """
    listed = list(indexes)
    same = [each for each in listed if same_mirror(each.url, upstream)]
    return next(iter((*same, *(each for each in listed if each.default))), None)
