"""Between what is known of projects and the documents of the store.

Only what the shared identity learned is kept, and the commons; what a client's own token showed stays in memory.
"""

from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from proxy.core.errors import UpstreamError
from proxy.index.documents import Document, MetadataDocument, PageDocument, VerdictsDocument, decode, encode
from proxy.index.project import Commons, Project
from proxy.store import Lease, Room, Store
from proxy.upstream import FetchedPage, Packed, Validators


@dataclass(frozen=True, slots=True)
class StoredPage:
    """The mirror's page as it was kept, and when the mirror last said that it holds (seconds since the epoch)."""

    page: FetchedPage
    checked: float


class Keeper:
    """Keeps and loads the documents of one mirror's projects: pages for `pages_for` seconds, the rest for `verdicts_for`.

    Pages are kept as they came, and have at most `page_limit` bytes once they are inflated.
    """

    def __init__(self, store: Store, mirror: str, *, pages_for: float, verdicts_for: float, page_limit: int) -> None:
        self._store = store
        self._mirror = mirror
        self._pages_for = pages_for
        self._verdicts_for = verdicts_for
        self._page_limit = page_limit
        self._resting = False

    def rest(self) -> None:
        """Keeps nothing from now on: somebody else keeps the same documents."""
        self._resting = True

    def keep(self, project: Project) -> None:
        """Keeps the verdicts and the metadata of `project`, where they changed since they were kept."""
        if not project.who.shared:
            return
        if project.stored_revision != project.revision and project.verdicts:
            project.stored_revision = project.revision
            digest = project.known.digest if project.known is not None else ""
            document = VerdictsDocument(digest, project.verdicts)
            self._put(Room.VERDICTS, self._key(project.name), document, self._verdicts_for)
        if project.read_since_stored:
            project.read_since_stored = False
            self._put(Room.METADATA, self._key(project.name), MetadataDocument(dict(project.read)), self._verdicts_for)

    def keep_page(self, name: str, fetched: FetchedPage, checked: float) -> None:
        """Keeps the mirror's page of the project `name`."""
        validators = fetched.validators
        packed = fetched.packed
        body, coding = (fetched.body, None) if packed is None else (packed.content, packed.coding)
        document = PageDocument(body, fetched.content_type, fetched.url, validators.etag, validators.last_modified, checked, coding)
        self._put(Room.PAGE, self._key(name), document, self._pages_for)

    def keep_commons(self, name: str, commons: Commons) -> None:
        """Keeps what clients with credentials of their own found deliverable."""
        self._put(Room.VERDICTS, self._commons_key(name), VerdictsDocument(commons.digest, commons.verdicts), self._verdicts_for)

    def forget_page(self, name: str) -> None:
        """Forgets the mirror's page: it may not be served any more."""
        self._store.forget(Room.PAGE, self._key(name))

    async def commons(self, name: str) -> Commons:
        """Gives the commons of the project `name`, empty where none are kept."""
        kept = decode(await self._store.get(Room.VERDICTS, self._commons_key(name)), VerdictsDocument)
        return Commons() if kept is None else Commons(kept.digest, dict(kept.verdicts))

    async def load(self, project: Project) -> StoredPage | None:
        """Adds to `project` the verdicts and metadata that were kept, and gives the page if it was kept."""
        if not project.who.shared:
            return None
        key = self._key(project.name)
        verdicts = decode(await self._store.get(Room.VERDICTS, key), VerdictsDocument)
        if verdicts is not None:
            project.verdicts = verdicts.verdicts | project.verdicts
            project.revision += 1
            project.stored_revision = project.revision
        metadata = decode(await self._store.get(Room.METADATA, key), MetadataDocument)
        if metadata is not None:
            project.read = OrderedDict(metadata.read) | project.read
        return await self._stored(await self._store.get(Room.PAGE, key))

    async def _stored(self, document: bytes | None) -> StoredPage | None:
        page = decode(document, PageDocument)
        if page is None:
            return None
        packed = None if page.coding is None else Packed(page.body, page.coding)
        try:
            body = page.body if packed is None else await packed.unpacked(page.url, self._page_limit)
        except UpstreamError:
            # It was too large or broken when it was kept, and so is none.
            return None
        fetched = FetchedPage(body, page.content_type, page.url, Validators(page.etag, page.last_modified), {}, packed)
        return StoredPage(fetched, page.checked)

    async def confirm_page(self, name: str, checked: float) -> None:
        """Notes that the mirror said at `checked` that the page which is kept still holds."""
        key = self._key(name)
        document = decode(await self._store.get(Room.PAGE, key), PageDocument)
        if document is not None and document.checked < checked:
            self._put(Room.PAGE, key, msgspec.structs.replace(document, checked=checked), self._pages_for)

    async def catch_up(self, project: Project) -> None:
        """Adds to `project` what replicas learned of it meanwhile: of each file the answer that came last."""
        key = self._key(project.name)
        verdicts = decode(await self._store.get(Room.VERDICTS, key, anew=True), VerdictsDocument)
        if verdicts is not None:
            project.take_over(verdicts.verdicts)
            if project.verdicts == verdicts.verdicts:
                # Writing it again would only overwrite what others learn meanwhile.
                project.stored_revision = project.revision
        metadata = decode(await self._store.get(Room.METADATA, key, anew=True), MetadataDocument)
        if metadata is not None:
            for name, read in metadata.read.items():
                project.read.setdefault(name, read)

    async def page(self, name: str) -> StoredPage | None:
        """Gives the page of the project `name` that a replica kept last, if one is kept."""
        return await self._stored(await self._store.get(Room.PAGE, self._key(name), anew=True))

    async def settled(self, name: str, within: float) -> None:
        """Waits until replicas can read what was kept of the project `name`, at most `within` seconds."""
        for room in (Room.PAGE, Room.VERDICTS, Room.METADATA):
            await self._store.settled(room, self._key(name), within)

    async def take_turn(self, name: str, work: str, seconds: float) -> Lease | None:
        """Gives the right to do `work` for the project `name` for so long, None where a replica has it."""
        return await self._store.acquire(f"{work}/{self._key(name)}", seconds)

    @property
    def shared(self) -> bool:
        """Whether replicas share the store just now."""
        return self._store.shared

    def _put(self, room: Room, key: str, document: Document, seconds: float) -> None:
        if not self._resting:
            self._store.put(room, key, encode(document), seconds)

    def _key(self, name: str) -> str:
        return f"{self._mirror}/{name}"

    def _commons_key(self, name: str) -> str:
        return f"{self._mirror}/{name}/commons"
