"""A mended page as it is served: rendered and compressed once per form and encoding, with the headers that say what was mended."""

from dataclasses import dataclass, field
from itertools import count
from threading import Lock

from blake3 import blake3

from proxy.core.deflate import gzipped
from proxy.core.render import Form, LinkMaker, MetadataOffer, Renderer
from proxy.core.verdict.settle import Mended

try:
    from compression import zstd
except ImportError:
    from backports import zstd

ENCODINGS = ("zstd", "gzip", "identity")

_WORTH_REMEMBERING = 200
"""Links from which on it is worth to remember how a page was rendered; a smaller one is rendered anew in no time."""

Revision = tuple[int, int, str, bool, tuple[int, int, bool] | None]
"""What a served page depends on: the project's revision and offers, the digests of the mirror's page and of what filled it, whether
there is a storm, and what is known of files that can be rescued."""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a page in one form and encoding, and their strong validator (RFC 9110, section 8.8.3)."""

    content: bytes
    etag: str


class _Renderings:
    """The renderers of one project's page by form, and the lock that lets one thread at a time use them."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.by_form: dict[Form, Renderer] = {}


@dataclass(slots=True)
class ServedPage:
    """A mended page, ready to be served.

    `offered_anew` names the files of which the page may say something else of core metadata than by default.
    `complete` says whether every file was asked about; `stale_for` is in seconds, None where the mirror confirmed the page lately;
    `storm` says that dropping has stopped. `serial` tells it from every other one. `plain` is what was rendered, `bodies` what is sent.
    """

    mended: Mended
    links: LinkMaker
    metadata: MetadataOffer
    revision: Revision
    complete: bool
    private: bool
    storm: bool = False
    stale_for: float | None = None
    offered_anew: frozenset[str] = frozenset()
    plain: dict[Form, bytes] = field(default_factory=dict)
    bodies: dict[tuple[Form, str], Body] = field(default_factory=dict)
    serial: int = field(default_factory=count().__next__)
    renderings: _Renderings = field(default_factory=_Renderings)

    @property
    def size(self) -> int:
        """Bytes of rendered content held."""
        compressed = (len(body.content) for (_, encoding), body in list(self.bodies.items()) if encoding != "identity")
        return sum(map(len, list(self.plain.values()))) + sum(compressed)

    def inherit(self, earlier: "ServedPage") -> None:
        """Takes over what `earlier` rendered: all of it where this page would be rendered alike, else what its renderers remember.

        These remember by file, so nothing is taken of another page of the mirror.
        """
        if self.revision[2] != earlier.revision[2]:
            return
        if self.mended.page == earlier.mended.page and self.revision[1] == earlier.revision[1]:
            self.plain, self.bodies = earlier.plain, earlier.bodies
        self.renderings = earlier.renderings

    def ready(self, form: Form, encoding: str) -> Body | None:
        """Gives the body if it was rendered before."""
        return self.bodies.get((form, encoding))

    @property
    def being_rendered(self) -> bool:
        """Whether a thread renders it just now, so that `body` would wait for that."""
        return self.renderings.lock.locked()

    def body(self, form: Form, encoding: str) -> Body:
        """Renders and compresses the page, which takes a millisecond or more for a thousand links."""
        with self.renderings.lock:
            return self._body(form, encoding)

    def _body(self, form: Form, encoding: str) -> Body:
        known = self.bodies.get((form, encoding))
        if known is None:
            plain = self.plain.get(form)
            if plain is None:
                plain = self.plain[form] = self._render(form)
            content = plain if encoding == "identity" else compress(plain, encoding)
            # Of what is sent, which is the least to read: another content has another tag in either case.
            tag = blake3(content).hexdigest(length=16)
            known = self.bodies[form, encoding] = Body(content, f'"{tag}-{form.name.lower()}-{encoding}"')
        return known

    def _render(self, form: Form) -> bytes:
        renderer = self.renderings.by_form.get(form)
        if renderer is None:
            renderer = Renderer(form, self.links, self.metadata)
            if len(self.mended.page.files) >= _WORTH_REMEMBERING:
                self.renderings.by_form[form] = renderer
        return renderer.render(self.mended.page, self.offered_anew)


def compress(content: bytes, encoding: str) -> bytes:
    """Gives `content` in the content coding `gzip` or `zstd` (RFC 9110, section 8.4.1; RFC 8878)."""
    if encoding == "zstd":
        compressed: bytes = zstd.compress(content, level=1)
        return compressed
    return gzipped(content)
