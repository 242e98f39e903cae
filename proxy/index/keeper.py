"""Between what is known of projects and the documents of the store.

Only what the shared identity learned is kept, and the commons; what a client's own token showed stays in memory.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import msgspec

from proxy.core.verdict.judge import Verdict
from proxy.index.demand import REMEMBERED_FOR
from proxy.index.documents import PROOF_RULES, Document, MetadataDocument, NamesDocument, PageDocument, VerdictsDocument, decode, encode
from proxy.index.project import Commons, Project, came_later
from proxy.store import Documents, Lease, Room, Store
from proxy.upstream import FetchedPage, Validators

_NAMES = "//names"
"""Ends the key of the names: no project is called nothing."""

_BETWEEN_REPLICAS = 60.0
"""Seconds by which the clocks of replicas may differ."""

_LARGEST_METADATA = 1024 * 1024
"""Bytes of metadata that are kept of one file: more takes so long to compress that it is read again instead."""


@dataclass(frozen=True)
class Kept:
    """The documents of a project in the store, as they came; one that is not there, or cannot be read back, is None."""

    raw_commons: bytes | None
    raw_verdicts: bytes | None
    raw_metadata: bytes | None
    raw_page: bytes | None
    answered: bool = True
    """Set if the store answered: if not, a document that is None may be there all the same."""

    @cached_property
    def commons(self) -> Commons:
        """The files that clients with credentials of their own found deliverable."""
        kept = decode(self.raw_commons, VerdictsDocument)
        return Commons() if kept is None else Commons(kept.digest, dict(kept.verdicts))

    @cached_property
    def verdicts(self) -> VerdictsDocument | None:
        """The verdicts on the project's files."""
        return decode(self.raw_verdicts, VerdictsDocument)

    @cached_property
    def metadata(self) -> MetadataDocument | None:
        """The core metadata of the project's files."""
        return decode(self.raw_metadata, MetadataDocument)

    @cached_property
    def page(self) -> PageDocument | None:
        """The mirror's page."""
        return decode(self.raw_page, PageDocument)


class Keeper:
    """Keep and load the documents of one mirror's projects: pages for `pages_for` seconds, the rest for `verdicts_for`.

    A denial that is older than `denials_for` seconds is not taken over from the store.
    """

    def __init__(self, store: Store, mirror: str, *, pages_for: float, verdicts_for: float, denials_for: float = math.inf) -> None:
        self._store = store
        self._mirror = mirror
        self._pages_for = pages_for
        self._verdicts_for = verdicts_for
        self._denials_for = denials_for
        self._resting = False

    def rest(self) -> None:
        """Keeps nothing from now on: somebody else keeps the same documents."""
        self._resting = True

    def keep(self, project: Project) -> None:
        """Keeps the verdicts and the metadata of `project`, where they changed since they were kept."""
        if not project.who.shared:
            return
        if _has_new_verdicts(project):
            project.stored_revision = project.revision
            project.demand.kept()
            digest = project.known.digest if project.known is not None else ""
            document = VerdictsDocument(digest, project.verdicts, PROOF_RULES, project.refusals, project.demand.asked)
            # The demand outlives the verdicts: those that are too old by then are not taken over.
            seconds = max(self._verdicts_for, REMEMBERED_FOR) if project.demand.asked else self._verdicts_for
            self._put(Room.VERDICTS, self._key(project.name), document, seconds)
        if project.read_since_stored:
            project.read_since_stored = False
            read = {name: each for name, each in project.read.items() if len(each.content) <= _LARGEST_METADATA}
            self._put(Room.METADATA, self._key(project.name), MetadataDocument(read), self._verdicts_for)

    def has_news(self, project: Project) -> bool:
        """Return whether anything was learned of `project` that is not kept yet."""
        return project.who.shared and (project.read_since_stored or _has_new_verdicts(project))

    def keep_page(self, name: str, fetched: FetchedPage, checked: float) -> None:
        """Keeps the mirror's page of the project `name`."""
        self._put(Room.PAGE, self._key(name), PageDocument.of(fetched, checked), self._pages_for)

    def keep_commons(self, name: str, commons: Commons) -> None:
        """Keeps what clients with credentials of their own found deliverable."""
        self._put(
            Room.VERDICTS, self._commons_key(name), VerdictsDocument(commons.digest, commons.verdicts, PROOF_RULES), self._verdicts_for
        )

    def forget_page(self, name: str) -> None:
        """Forget the mirror's page, for all who share the store and as long as a copy may exist: it may not be served any more."""
        self._store.forget(Room.PAGE, self._key(name), self._pages_for)

    async def kept(self, project: Project, *, patient: bool = False, anew: bool = False, whole: bool = True) -> Kept:
        """Return what is kept of `project`, for its identity to see, without the page and the commons unless it is to be `whole`.

        With `patient`, wait for a slow store longer than a page does; with `anew`, ask it for what it told a moment ago as well.
        """
        if not whole:
            return _learned_only(await self._store.get_many(self._learned(project.name), anew=anew))
        places = self._places(project.name)
        if project.who.shared:
            return _all(await self._store.get_many(places, patient=patient, anew=anew))
        commons = await self._store.get_many(places[:1], patient=patient)
        return Kept(commons[0], None, None, None, commons.answered)

    async def lacks_page(self, name: str) -> bool:
        """Return whether the store, as far as it tells, has no page of the project `name`."""
        documents = await self._store.get_many([(Room.PAGE, self._key(name))])
        return documents.answered and documents[0] is None

    async def confirm_page(self, name: str, checked: float) -> bool:
        """Note that the mirror said at `checked` that the page which is kept still holds; return False if none is kept, but could be."""
        key = self._key(name)
        documents = await self._store.get_many([(Room.PAGE, key)])
        document = decode(documents[0], PageDocument)
        if document is None:
            return not documents.answered or self._resting or not self._store.outlives
        # One that was confirmed in the future was kept before the clock went back.
        if not 0 <= document.checked - checked < _BETWEEN_REPLICAS:
            self._put(Room.PAGE, key, msgspec.structs.replace(document, checked=checked), self._pages_for)
        return True

    async def catch_up(self, project: Project) -> None:
        """Add to `project` what replicas learned of it meanwhile: of each file the answer that came last."""
        self.take_over(project, await self.kept(project, anew=True, whole=False))

    def take_over(self, project: Project, kept: Kept) -> None:
        """Add to `project` what is kept of it, and note what of it is to be kept again, since the store lost it."""
        if kept.verdicts is not None:
            document, now = kept.verdicts, self._store.now()
            project.take_over(document.believed(now, verdicts_for=self._verdicts_for, denials_for=self._denials_for), now)
            project.take_over_refusals(document.lately_refused(now, self._verdicts_for))
            project.demand.take_over(document.demand, now)
            unknown_refusals = any(document.refusals.get(key) != each for key, each in project.refusals.items())
            lacking = unknown_refusals or _lacks(document.verdicts, project.verdicts, now)
            # Writing the same again would only overwrite what others learn meanwhile.
            project.stored_revision = -1 if lacking else project.revision
        elif kept.answered:
            project.stored_revision = -1
        if kept.metadata is not None:
            project.take_over_metadata(kept.metadata.read)
        elif kept.answered and project.read:
            project.read_since_stored = True

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

    async def settled(self, name: str, within: float) -> None:
        """Waits until replicas can read what was kept of the project `name`, at most `within` seconds."""
        for room in (Room.PAGE, Room.VERDICTS, Room.METADATA):
            await self._store.settled(room, self._key(name), within)

    async def take_turn(self, project: Project, work: str, seconds: float, *, whole: bool) -> tuple[Lease | None, Kept]:
        """Return the right to do `work` for `project` for so long, None if a replica has it.

        With it comes what is kept of the project, without the page and the commons unless it is to be `whole`.
        """
        places = self._places(project.name) if whole else self._learned(project.name)
        lease, documents = await self._store.acquire(self._lease(project, work), seconds, places)
        return lease, _all(documents) if whole else _learned_only(documents)

    async def take_turn_alone(self, project: Project, work: str, seconds: float) -> Lease | None:
        """Return the right to do `work` for `project` for so long, None if a replica has it; nothing is read with it."""
        lease, _ = await self._store.acquire(self._lease(project, work), seconds)
        return lease

    @property
    def shared(self) -> bool:
        """Whether replicas share the store just now."""
        return self._store.shared

    def _put(self, room: Room, key: str, document: Document, seconds: float) -> None:
        if not self._resting:
            self._store.put(room, key, encode(document), seconds)

    def _places(self, name: str) -> list[tuple[Room, str]]:
        """Return the places of what `Kept` has, in its order."""
        return [(Room.VERDICTS, self._commons_key(name)), *self._learned(name), (Room.PAGE, self._key(name))]

    def _learned(self, name: str) -> list[tuple[Room, str]]:
        """Return the places of what is learned of the project's files: verdicts and metadata."""
        key = self._key(name)
        return [(Room.VERDICTS, key), (Room.METADATA, key)]

    def _lease(self, project: Project, work: str) -> str:
        return f"{work}/{self._key(project.name)}"

    def _key(self, name: str) -> str:
        return f"{self._mirror}/{name}"

    def _commons_key(self, name: str) -> str:
        return f"{self._mirror}/{name}/commons"


def _has_new_verdicts(project: Project) -> bool:
    return bool(project.verdicts) and (project.stored_revision != project.revision or project.demand.has_news)


def _all(documents: Documents) -> Kept:
    commons, verdicts, metadata, page = documents
    return Kept(commons, verdicts, metadata, page, documents.answered)


def _learned_only(documents: Documents) -> Kept:
    verdicts, metadata = documents
    return Kept(None, verdicts, metadata, None, documents.answered)


def _lacks(stored: Mapping[str, Verdict], known: Mapping[str, Verdict], now: float) -> bool:
    """Return whether the stored verdicts lack one that is known, or have an older one."""
    return any((one := stored.get(name)) is None or came_later(each.checked, one.checked, now) for name, each in known.items())
