"""Between what is known of projects and the documents of the store.

Only what the shared identity learned is kept, and the commons; what a client's own token showed stays in memory.
"""

import msgspec

from proxy.index.documents import PROOF_RULES, Document, MetadataDocument, NamesDocument, PageDocument, VerdictsDocument, decode, encode
from proxy.index.project import Commons, Project
from proxy.store import Lease, Room, Store
from proxy.upstream import FetchedPage, Validators

_NAMES = "//names"
"""Ends the key of the names: no project is called nothing."""

_BETWEEN_REPLICAS = 60.0
"""Seconds by which the clocks of replicas may differ."""

_LARGEST_METADATA = 1024 * 1024
"""Bytes of metadata that are kept of one file: more takes so long to compress that it is read again instead."""


class Keeper:
    """Keeps and loads the documents of one mirror's projects: pages for `pages_for` seconds, the rest for `verdicts_for`."""

    def __init__(self, store: Store, mirror: str, *, pages_for: float, verdicts_for: float) -> None:
        self._store = store
        self._mirror = mirror
        self._pages_for = pages_for
        self._verdicts_for = verdicts_for
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
            document = VerdictsDocument(digest, project.verdicts, PROOF_RULES)
            self._put(Room.VERDICTS, self._key(project.name), document, self._verdicts_for)
        if project.read_since_stored:
            project.read_since_stored = False
            read = {name: each for name, each in project.read.items() if len(each.content) <= _LARGEST_METADATA}
            self._put(Room.METADATA, self._key(project.name), MetadataDocument(read), self._verdicts_for)

    def keep_page(self, name: str, fetched: FetchedPage, checked: float) -> None:
        """Keeps the mirror's page of the project `name`."""
        self._put(Room.PAGE, self._key(name), PageDocument.of(fetched, checked), self._pages_for)

    def keep_commons(self, name: str, commons: Commons) -> None:
        """Keeps what clients with credentials of their own found deliverable."""
        self._put(
            Room.VERDICTS, self._commons_key(name), VerdictsDocument(commons.digest, commons.verdicts, PROOF_RULES), self._verdicts_for
        )

    def forget_page(self, name: str) -> None:
        """Forgets the mirror's page: it may not be served any more."""
        self._store.forget(Room.PAGE, self._key(name))

    async def commons(self, name: str) -> Commons:
        """Gives the commons of the project `name`, empty where none are kept."""
        kept = decode(await self._store.get(Room.VERDICTS, self._commons_key(name)), VerdictsDocument)
        return Commons() if kept is None else Commons(kept.digest, dict(kept.verdicts))

    async def load(self, project: Project) -> PageDocument | None:
        """Adds to `project` the verdicts and metadata that were kept, and gives the page if it was kept."""
        if not project.who.shared:
            return None
        key = self._key(project.name)
        verdicts = decode(await self._store.get(Room.VERDICTS, key), VerdictsDocument)
        if verdicts is not None:
            project.verdicts = verdicts.believed | project.verdicts
            project.revision += 1
            project.stored_revision = project.revision
        metadata = decode(await self._store.get(Room.METADATA, key), MetadataDocument)
        if metadata is not None:
            project.take_over_metadata(metadata.read)
        return decode(await self._store.get(Room.PAGE, key), PageDocument)

    async def confirm_page(self, name: str, checked: float) -> None:
        """Notes that the mirror said at `checked` that the page which is kept still holds."""
        key = self._key(name)
        document = decode(await self._store.get(Room.PAGE, key), PageDocument)
        # One that was confirmed in the future was kept before the clock went back.
        if document is not None and not 0 <= document.checked - checked < _BETWEEN_REPLICAS:
            self._put(Room.PAGE, key, msgspec.structs.replace(document, checked=checked), self._pages_for)

    async def catch_up(self, project: Project) -> None:
        """Adds to `project` what replicas learned of it meanwhile: of each file the answer that came last."""
        key = self._key(project.name)
        verdicts = decode(await self._store.get(Room.VERDICTS, key, anew=True), VerdictsDocument)
        if verdicts is not None:
            project.take_over(verdicts.believed)
            if project.verdicts == verdicts.verdicts:
                # Writing it again would only overwrite what others learn meanwhile.
                project.stored_revision = project.revision
        metadata = decode(await self._store.get(Room.METADATA, key, anew=True), MetadataDocument)
        if metadata is not None:
            project.take_over_metadata(metadata.read)

    async def validators(self, name: str) -> Validators | None:
        """Return what the page that is kept of the project `name` can be asked for again with, None where none is kept."""
        document = decode(await self._store.get(Room.PAGE, self._key(name)), PageDocument)
        return None if document is None else Validators(document.etag, document.last_modified)

    async def names(self) -> list[str]:
        """Return the names of some projects that the mirror had lately."""
        document = decode(await self._store.get(Room.PAGE, self._mirror + _NAMES), NamesDocument)
        return [] if document is None else document.names

    def keep_names(self, names: list[str]) -> None:
        """Keep the names of some projects that the mirror had lately."""
        self._put(Room.PAGE, self._mirror + _NAMES, NamesDocument(names), self._verdicts_for)

    async def page(self, name: str) -> PageDocument | None:
        """Gives the page of the project `name` that a replica kept last, if one is kept."""
        return decode(await self._store.get(Room.PAGE, self._key(name), anew=True), PageDocument)

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
