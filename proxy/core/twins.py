"""Files that share their name with another one on the page: merged repositories and flat lists have them.

A twin is told from the others by a mark, made of its SHA-256 or else of its address, so that it does not depend on the order of the page.

Rules for this file: pure; entries that lead to one address are one file, however often the page lists them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from blake3 import blake3

from proxy.core.page import File, Page

_MARK_DIGITS = 12
_SIGNATURE = ".asc"


class Twin(File, frozen=True, kw_only=True, gc=False):
    """A file of whose name the page lists another one; `mark` tells them apart."""

    mark: str

    @property
    def key(self) -> str:
        """The mark and the name: the end of its address at the proxy."""
        return f"{self.mark}/{self.filename}"


def told_apart(files: Sequence[File]) -> tuple[File, ...]:
    """Return `files` with a `Twin` for each one that shares its name with a file at another address."""
    names = [file.filename for file in files]
    if len(set(names)) == len(names):
        return tuple(files)
    addresses: dict[str, dict[str, File]] = {}
    for file in files:
        addresses.setdefault(file.filename, {}).setdefault(file.url, file)
    marks = {name: _told_by(alike.values()) for name, alike in addresses.items() if len(alike) > 1}
    return tuple([_twin(file, marks[file.filename][file.url]) if file.filename in marks else file for file in files])


def file_at(page: Page, key: str) -> File | None:
    """Return the file of `page` with this key or name, None if there is none.

    A signature stands beside each file that is said to have one, listed or not (PEP 503, `data-gpg-sig`).
    The plain name of twins means the first of them. A key is also understood if its file has become, or has ceased to be, a twin.
    """
    found = _listed_at(page, key)
    return _signature_of(_listed_at(page, key.removesuffix(_SIGNATURE))) if found is None and key.endswith(_SIGNATURE) else found


def _listed_at(page: Page, key: str) -> File | None:
    found = page.by_key.get(key)
    if found is not None:
        return found
    mark, _, filename = key.rpartition("/")
    if not mark:
        return page.by_filename.get(filename)
    return next((file for file in _of_name(page, filename) if mark in _marks_of(file)), None)


def _signature_of(file: File | None) -> File | None:
    if file is None or not file.gpg_sig:
        return None
    path, mark, query = file.url.partition("?")
    return File(f"{file.key}{_SIGNATURE}", f"{path}{_SIGNATURE}{mark}{query}")


def named(page: Page, filename: str, sha256: str) -> File | None:
    """Return the file of `page` that has this name and this SHA-256, None if there is none."""
    return next((file for file in _of_name(page, filename) if _sha256(file) == sha256), None)


def same_elsewhere(page: Page, file: File) -> tuple[File, ...]:
    """Return the other files of `page` that have the name and the SHA-256 of `file`: the same bytes at other addresses."""
    digest = _sha256(file)
    if type(file) is not Twin or not digest:
        return ()
    alike = {other.url: other for other in page.namesakes.get(file.filename, ()) if _sha256(other) == digest}
    return tuple(other for url, other in alike.items() if url != file.url)


def _of_name(page: Page, filename: str) -> Sequence[File]:
    alone = page.by_filename.get(filename)
    return page.namesakes.get(filename, ()) or (() if alone is None else (alone,))


def _twin(file: File, mark: str) -> Twin:
    return Twin(**{name: getattr(file, name) for name in File.__struct_fields__}, mark=mark)


def _told_by(alike: Iterable[File]) -> dict[str, str]:
    """Return the mark of each of these files of one name, by address: the first way to mark them that tells it from all others."""
    files = list(alike)
    ways = [list(marks) for marks in zip(*map(_marks_of, files), strict=True)]
    seen = [Counter(marks) for marks in ways]
    return {
        file.url: next((marks[at] for marks, count in zip(ways, seen, strict=True) if marks[at] and count[marks[at]] == 1), ways[-1][at])
        for at, file in enumerate(files)
    }


def _marks_of(file: File) -> Sequence[str]:
    """Return how `file` may be marked, the best first, empty where that is not possible; queries may be signatures that change."""
    return _sha256(file)[:_MARK_DIGITS], _digest(file.url.partition("?")[0]), _digest(file.url)


def _sha256(file: File) -> str:
    return file.hashes.get("sha256", "")


def _digest(text: str) -> str:
    return blake3(text.encode(errors="surrogatepass")).hexdigest()[:_MARK_DIGITS]
