"""What the store keeps of a project, as MessagePack: the mirror's page as it came, and the verdicts.

A document that cannot be read back is as good as none: `decode` gives None for it.
"""

from typing import TypeVar

import msgspec

from proxy.core.verdict.judge import Verdict
from proxy.index.project import Read


class PageDocument(msgspec.Struct, frozen=True, array_like=True):
    """A page as the mirror sent it, and when the mirror last said that it holds (seconds since the epoch).

    `coding` is what its Content-Encoding said where the `body` is in a content coding, None where it is not.
    """

    body: bytes
    content_type: str | None
    url: str
    etag: str | None
    last_modified: str | None
    checked: float
    coding: str | None = None


class VerdictsDocument(msgspec.Struct, frozen=True, array_like=True):
    """The verdicts on a project's files by name, and the digest of the page that they were made for."""

    digest: str
    verdicts: dict[str, Verdict]


class MetadataDocument(msgspec.Struct, frozen=True, array_like=True):
    """The core metadata of a project's files, by file name."""

    read: dict[str, Read]


Document = TypeVar("Document", PageDocument, VerdictsDocument, MetadataDocument)


def encode(document: PageDocument | VerdictsDocument | MetadataDocument) -> bytes:
    """Gives the bytes to store."""
    return msgspec.msgpack.encode(document)


def decode(content: bytes | None, kind: type[Document]) -> Document | None:
    """Gives the document back, None where there is none or it is damaged."""
    if content is None:
        return None
    try:
        return msgspec.msgpack.decode(content, type=kind)
    except msgspec.DecodeError:
        return None
