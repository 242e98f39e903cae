"""A mended page as it is served: rendered and compressed once per form and encoding, with the headers that say what was mended."""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from proxy.core.page import File
from proxy.core.render import Form, render_page
from proxy.core.verdict.settle import Mended

try:
    from compression import zstd
except ImportError:
    from backports import zstd

ENCODINGS = ("zstd", "gzip", "identity")

Revision = tuple[int, int, str, bool]
"""What a served page depends on: the project's revision and offers, the digest of the mirror's page, and whether there is a storm."""

LinkMaker = Callable[[File], str]
MetadataOffer = Callable[[File], bool | Mapping[str, str] | None]


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a page in one form and encoding, and their strong validator (RFC 9110, section 8.8.3)."""

    content: bytes
    etag: str


@dataclass(slots=True)
class ServedPage:
    """A mended page, ready to be served.

    `complete` says whether every file was asked about; `stale_for` is in seconds, None where the mirror confirmed the page lately;
    `storm` says that dropping has stopped. `serial` tells it from every other one.
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

    @property
    def size(self) -> int:
        """Bytes of rendered content held."""
        return sum(len(body.content) for body in self.bodies.values())

    def inherit(self, earlier: "ServedPage") -> None:
        """Takes over what `earlier` rendered, where this page would be rendered alike."""
        if self.mended.page == earlier.mended.page and self.revision[1] == earlier.revision[1]:
            self.bodies = earlier.bodies

    def ready(self, form: Form, encoding: str) -> Body | None:
        """Gives the body if it was rendered before."""
        return self.bodies.get((form, encoding))

    def body(self, form: Form, encoding: str) -> Body:
        """Renders and compresses the page; for one with thousands of links that takes tens of milliseconds, so not on the event loop."""
        known = self.bodies.get((form, encoding))
        if known is None:
            if encoding == "identity":
                content = render_page(self.mended.page, form, self.links, self.metadata)
                tag = hashlib.sha256(content).hexdigest()[:32]
            else:
                plain = self.body(form, "identity")
                content, tag = compress(plain.content, encoding), plain.etag[1:33]
            known = self.bodies[form, encoding] = Body(content, f'"{tag}-{form.name.lower()}-{encoding}"')
        return known


def compress(content: bytes, encoding: str) -> bytes:
    """Gives `content` in the content coding `gzip` or `zstd` (RFC 9110, section 8.4.1; RFC 8878)."""
    if encoding == "zstd":
        compressed: bytes = zstd.compress(content, level=3)
        return compressed
    compressor = zlib.compressobj(level=5, wbits=31)
    return compressor.compress(content) + compressor.flush()
