"""A mended page as it is served: rendered and compressed once per form and encoding, with the headers that say what was mended."""

from dataclasses import dataclass, field
from itertools import count
from threading import Lock

from blake3 import blake3

from proxy.core import zstandard
from proxy.core.deflate import gunzipped, gzipped
from proxy.core.render import Form, LinkMaker, MetadataOffer, render_page
from proxy.core.verdict.settle import Mended

ENCODINGS = ("zstd", "gzip", "identity")

Revision = tuple[int, int, str, bool, tuple[int, int, bool] | None]
"""What a served page depends on: the project's revision and offers, the digests of the mirror's page and of what filled it, whether
there is a storm, and what is known of files that can be rescued."""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a page in one form and encoding, and their strong validator (RFC 9110, section 8.8.3)."""

    content: bytes
    etag: str


@dataclass(slots=True)
class ServedPage:
    """A mended page, ready to be served.

    `complete` says whether every file was asked about; `stale_for` is in seconds, None where the mirror confirmed the page lately;
    `storm` says that dropping has stopped. `serial` tells it from every other one. `bodies` is what is sent, and all that is kept of what
    was rendered: one encoding is made of another where it can be. `lock` lets one thread at a time make one.
    """

    mended: Mended
    links: LinkMaker
    metadata: MetadataOffer
    revision: Revision
    complete: bool
    private: bool
    storm: bool = False
    stale_for: float | None = None
    bodies: dict[tuple[Form, str], Body] = field(default_factory=dict)
    serial: int = field(default_factory=count().__next__)
    lock: Lock = field(default_factory=Lock)

    @property
    def size(self) -> int:
        """Bytes of rendered content held."""
        return sum([len(body.content) for body in list(self.bodies.values())])

    def inherit(self, earlier: "ServedPage") -> None:
        """Take over what `earlier` rendered, if this page would be rendered alike."""
        if self.revision[1:3] == earlier.revision[1:3] and _gone(self.mended) == _gone(earlier.mended):
            self.bodies, self.lock = earlier.bodies, earlier.lock

    def ready(self, form: Form, encoding: str) -> Body | None:
        """Gives the body if it was rendered before."""
        return self.bodies.get((form, encoding))

    @property
    def being_rendered(self) -> bool:
        """Tell whether a thread renders it just now, so that `body` would wait for that."""
        return self.lock.locked()

    def body(self, form: Form, encoding: str) -> Body:
        """Renders and compresses the page, which takes a millisecond or more for a thousand links."""
        with self.lock:
            return self._body(form, encoding)

    def _body(self, form: Form, encoding: str) -> Body:
        known = self.bodies.get((form, encoding))
        if known is None:
            plain = self._plain(form)
            content = plain if encoding == "identity" else compress(plain, encoding)
            # Of what is sent, which is the least to read: another content has another tag in either case.
            tag = blake3(content).hexdigest(length=16)
            known = self.bodies[form, encoding] = Body(content, f'"{tag}-{form.name.lower()}-{encoding}"')
        return known

    def _plain(self, form: Form) -> bytes:
        for encoding in reversed(ENCODINGS):
            made = self.bodies.get((form, encoding))
            if made is not None:
                return decompressed(made.content, encoding)
        return render_page(self.mended.page, form, self.links, self.metadata)


def _gone(mended: Mended) -> list[str]:
    return [each.file.key for each in mended.dropped]


def compress(content: bytes, encoding: str) -> bytes:
    """Gives `content` in the content coding `gzip` or `zstd` (RFC 9110, section 8.4.1; RFC 8878)."""
    return zstandard.compressed(content) if encoding == "zstd" else gzipped(content)


def decompressed(content: bytes, encoding: str) -> bytes:
    """Return what `compress` made `content` of; of `identity` it is itself."""
    if encoding == "zstd":
        return zstandard.decompressed(content)
    return gunzipped(content) if encoding == "gzip" else content
