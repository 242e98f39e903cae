"""What the store keeps of a project, as MessagePack: the mirror's page as it came, and the verdicts.

A document that cannot be read back is as good as none: `decode` gives None for it.
"""

from typing import Self, TypeVar

import msgspec

from proxy.core.errors import UpstreamOverLimit
from proxy.core.verdict.file_refusals import FileRefusals
from proxy.core.verdict.judge import Kind, Verdict, is_undeliverable
from proxy.index.project import Read
from proxy.upstream import FetchedPage, Packed, Validators

_SERIAL = "x-pypi-last-serial"


class PageDocument(msgspec.Struct, frozen=True, array_like=True):
    """A page as the mirror sent it, and when the mirror last said that it holds (seconds since the epoch).

    `serial` is the mirror's header X-PyPI-Last-Serial.
    What came in a content coding is kept in it where that is at hand, which spares the time to compress it again.
    """

    body: bytes | Packed
    content_type: str | None
    url: str
    etag: str | None
    last_modified: str | None
    checked: float
    serial: str | None = None

    @classmethod
    def of(cls, fetched: FetchedPage, checked: float) -> Self:
        """Gives the document of a page."""
        validators = fetched.validators
        body = fetched.packed or fetched.body
        return cls(
            body, fetched.content_type, fetched.url, validators.etag, validators.last_modified, checked, fetched.headers.get(_SERIAL)
        )

    async def page(self, limit: int) -> FetchedPage:
        """Gives the page back; raises UpstreamOverLimit where it has more than `limit` bytes, UpstreamBroke where it cannot be unpacked."""
        if isinstance(self.body, Packed):
            body, packed = await self.body.unpacked(self.url, limit), self.body
        else:
            body, packed = self.body, None
        if len(body) > limit:
            raise UpstreamOverLimit(self.url, limit, "bytes")
        headers = {} if self.serial is None else {_SERIAL: self.serial}
        return FetchedPage(body, self.content_type, self.url, Validators(self.etag, self.last_modified), headers, packed)


PROOF_RULES = 1
"""The number of the rules by which denials are proven at present; documents of before have 0."""


class VerdictsDocument(msgspec.Struct, frozen=True, array_like=True):
    """The verdicts on a project's files by key, the digest of the page that they were made for, and the rules by which they were proven.

    `refusals` say when files were refused and denied, `demand` when clients asked last for something of a release.
    Older documents lack both.
    """

    digest: str
    verdicts: dict[str, Verdict]
    rules: int = 0
    refusals: dict[str, FileRefusals] = {}
    demand: dict[str, float] = {}

    def believed(self, now: float, *, verdicts_for: float, denials_for: float) -> dict[str, Verdict]:
        """Return the verdicts that are not older than so many seconds `now`: the document may be kept longer than they count.

        A denial that was proven by other rules is unknown, so that the file is listed until it is asked for again.
        """
        count = {
            key: verdict
            for key, verdict in self.verdicts.items()
            if now - verdict.checked < verdicts_for and not (is_undeliverable(verdict) and now - verdict.evidence.at >= denials_for)
        }
        if self.rules == PROOF_RULES:
            return count
        return {
            key: msgspec.structs.replace(verdict, kind=Kind.UNKNOWN, checked=0.0) if is_undeliverable(verdict) else verdict
            for key, verdict in count.items()
        }

    def lately_refused(self, now: float, within: float) -> dict[str, FileRefusals]:
        """Return the refusals of files of which the mirror said anything within so many seconds before `now`."""
        return {key: each for key, each in self.refusals.items() if now - each.last_heard < within}


class MetadataDocument(msgspec.Struct, frozen=True, array_like=True):
    """The core metadata of a project's files, by file name."""

    read: dict[str, Read]


class NamesDocument(msgspec.Struct, frozen=True, array_like=True):
    """The names of some projects that the mirror had lately, those confirmed last at the end."""

    names: list[str]


Document = TypeVar("Document", PageDocument, VerdictsDocument, MetadataDocument, NamesDocument)


def encode(document: PageDocument | VerdictsDocument | MetadataDocument | NamesDocument) -> bytes:
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
