"""The files of a page that nobody uses now, as bytes: a sixth of what they take as objects.

Rules for this file: what is unpacked equals what was packed, field by field and type by type; what cannot be packed so is left as it is.
"""

from collections.abc import Collection, Sequence
from functools import cache
from itertools import groupby, islice

import msgspec

from proxy.core.page import File, Fragment, Page
from proxy.core.zstandard import compressed, decompressed

LARGEST = 12_000
"""Files of the largest page that is packed: reading more back would hold up others for longer than a page is worth."""


class PackedFiles:
    """Files as bytes, in their order."""

    __slots__ = ("_content", "_runs", "count", "size")

    def __init__(self, content: bytes, runs: Sequence[tuple[type[File], int]]) -> None:
        self._content = content
        self._runs = tuple(runs)
        self.count = sum(length for _, length in runs)
        self.size = len(content)

    def files(self) -> tuple[File, ...]:
        """Return the files."""
        parts = msgspec.msgpack.decode(decompressed(self._content), type=list[msgspec.Raw])
        return tuple([file for (kind, _), part in zip(self._runs, parts, strict=True) for file in _decoder(kind).decode(part)])


class FilesLeft:
    """The files of `page` but for those with the `gone` keys: what is left of it is not kept twice."""

    __slots__ = ("_gone", "_page", "count", "size")

    def __init__(self, page: Page, gone: Collection[str], count: int) -> None:
        self._page = page
        self._gone = gone
        self.count = count
        self.size = 0

    def files(self) -> tuple[File, ...]:
        """Return the files."""
        return tuple([file for file in self._page.files if file.key not in self._gone])


def packed(files: Sequence[File]) -> PackedFiles | None:
    """Return `files` as bytes; None where there are none, or too many, or some that MessagePack has no place for."""
    if not 0 < len(files) <= LARGEST:
        return None
    runs = [(kind, len(list(alike))) for kind, alike in groupby(files, type)]
    rest = iter(files)
    try:
        content = _encode([list(islice(rest, length)) for _, length in runs])
    except (UnicodeError, msgspec.MsgspecError, OverflowError):
        return None
    return PackedFiles(compressed(content), runs)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, Fragment):
        return bytes(value)
    raise NotImplementedError(type(value).__name__)


def _as_fragment(kind: type, value: object) -> Fragment:
    if kind is Fragment and isinstance(value, bytes):
        return Fragment(value)
    raise NotImplementedError(kind.__name__)


_encode = msgspec.msgpack.Encoder(enc_hook=_as_bytes).encode


@cache
def _decoder(kind: type[File]) -> "msgspec.msgpack.Decoder[list[File]]":
    return msgspec.msgpack.Decoder(list[kind], dec_hook=_as_fragment)  # type: ignore[valid-type]  # the kind is known at run time only
