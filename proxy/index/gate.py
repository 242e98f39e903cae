"""The gate: core metadata for every wheel, whatever the mirror offers.

The mirror's own copy comes first, then METADATA read out of the wheel by ranges,
then that of the release's other wheels in the order in which uv would read them, then the sdist's PKG-INFO where it is static,
then the wheel itself as a second index has it.
uv itself takes one wheel's metadata for all of a version.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from proxy.core.errors import MetadataUnavailable, UpstreamStatus
from proxy.core.flows.exchange import Flow
from proxy.core.flows.metadata import MetadataRead, metadata_copy, sdist_metadata, wheel_metadata
from proxy.core.page import File, Packaging, Page, Sha256
from proxy.core.render import MetadataOffer, Offer
from proxy.core.verdict.judge import is_undeliverable
from proxy.core.verdict.plan import by_resolver_order
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.project import Project, Read, mark_of
from proxy.index.replicas import ALONE, Replicas, Work
from proxy.index.rescue import Rescue
from proxy.index.verification import Verifier
from proxy.upstream import Mirror
from proxy.upstream.addresses import shown

_log = structlog.get_logger("mirrormend.index")

WHOLE_LIMIT = 24 * 1024 * 1024
"""Bytes of the largest wheel that is read whole where the mirror ignores ranges."""

_SIBLINGS = 6
_REMEMBERED = 4 * 1024 * 1024
"""Bytes of metadata remembered of one project."""

_UNREADABLE_FOR = 600.0
_WHEEL_DASHES = (4, 5)
"""Between the parts of a wheel's name (PyPA specifications, binary distribution format), without and with a build tag."""


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """Core metadata for a file: the `content`, and the key of the file of the same release that it was read from."""

    content: bytes
    source: str

    @property
    def sha256(self) -> str:
        """The hexadecimal digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


class Gate:
    """Gives core metadata of the files of one mirror."""

    def __init__(
        self,
        mirror: Mirror,
        verifier: Verifier,
        tasks: Tasks,
        clock: Callable[[], float] = time.time,
        *,
        replicas: Replicas = ALONE,
        rescue: Rescue | None = None,
    ) -> None:
        self._mirror = mirror
        self._verifier = verifier
        self._replicas = replicas
        self._rescue = rescue
        self._clock = clock
        self._ranges_ignored = False
        self._flights: SingleFlight[tuple[str, str, str], CoreMetadata] = SingleFlight(tasks, "metadata")

    def offers(self, project: Project) -> MetadataOffer:
        """Gives what pages say of files' core metadata: the hash where it was seen to match, true for other wheels, else nothing."""
        unreadable, read = project.unreadable, project.read
        long_ago = self._clock() - _UNREADABLE_FOR

        def offered(file: File, *, wheel: bool) -> Offer:
            key = file.key
            if not wheel or unreadable.get(key, long_ago) > long_ago:
                return None
            if not isinstance(file.core_metadata, Sha256):
                return True if file.core_metadata or not self._ranges_ignored or (file.size or 0) <= WHOLE_LIMIT else None
            known = read.get(key)
            if known is None or known.source != key or known.mark != mark_of(file):
                return True
            digest = hashlib.sha256(known.content).hexdigest()
            return Sha256(digest) if digest == file.core_metadata.sha256 else True

        def offers(files: Sequence[File]) -> Sequence[Offer]:
            names = [file.filename for file in files]
            fewest, most = _WHEEL_DASHES
            made: list[Offer] = [True if name.endswith(".whl") and fewest <= name.count("-") <= most else None for name in names]
            special, keys = read.keys() | unreadable.keys(), [file.key for file in files] if read or unreadable else names
            if self._ranges_ignored or not special.isdisjoint(keys):
                for place, key in enumerate(keys):
                    if self._ranges_ignored or key in special:
                        made[place] = offered(files[place], wheel=made[place] is True)
            return made

        return offers

    def unreadable(self, project: Project, file: File) -> bool:
        """Whether the metadata of `file` was lately found to be had nowhere."""
        long_ago = self._clock() - _UNREADABLE_FOR
        return project.unreadable.get(file.key, long_ago) > long_ago

    async def metadata(self, project: Project, page: Page, file: File) -> CoreMetadata:
        """Gives the core metadata of `file`, listed on `page`.

        Raises MetadataUnavailable where no file of the release gives it, UpstreamStatus where the mirror wants credentials.
        """
        known = self._known(project, file)
        if known is not None:
            return CoreMetadata(known.content, known.source)
        return await self._flights.do((project.who.key, project.name, file.key), lambda: self._read_any(project, page, file))

    async def read_ahead(self, project: Project, page: Page, files: list[File]) -> None:
        """Reads the metadata of `files` before they are asked for; what fails is left for the request to find out."""

        async def read(file: File) -> None:
            try:
                await self.metadata(project, page, file)
            except (MetadataUnavailable, UpstreamStatus) as error:
                _log.debug("read-ahead failed", project=project.name, file=file.filename, why=str(error))

        await asyncio.gather(*(read(file) for file in files))

    async def _read_any(self, project: Project, page: Page, file: File) -> CoreMetadata:
        async with self._replicas.turn(project, Work.METADATA, file.key):
            known = self._known(project, file)
            return CoreMetadata(known.content, known.source) if known is not None else await self._read_release(project, page, file)

    async def _read_release(self, project: Project, page: Page, file: File) -> CoreMetadata:
        tried: dict[str, str] = {}
        release = page.release_of(file)
        siblings = [each for each in by_resolver_order(release.files) if each.key != file.key]
        # The same file at another address comes before any other file.
        mark = mark_of(file)
        deliverable_first = sorted(siblings, key=lambda each: (mark_of(each) != mark, is_undeliverable(project.verdicts.get(each.key))))
        wheels = [file, *deliverable_first][: 1 + _SIBLINGS]
        sdists = [each for each in release.files if each.packaging is Packaging.SDIST]
        for source in (*wheels, *sdists):
            known = self._known(project, source)
            if known is not None and known.source != source.key:
                # What is known of it is another file's, whose turn comes.
                continue
            content = known.content if known is not None else await self._read_one(project, source, release.spelling, tried)
            if content is not None:
                if source.key != file.key:
                    _log.warning("metadata-of-another-file", project=project.name, file=file.filename, source=source.filename, tried=tried)
                self._mirror.counts.metadata[_source_of(project, file, source)] += 1
                self._remember(project, file, source, content)
                return CoreMetadata(content, source.key)
        rescued = None if self._rescue is None else await self._rescue.metadata(project, file, release.spelling)
        if rescued is not None:
            self._remember(project, file, file, rescued)
            return CoreMetadata(rescued, file.key)
        if not is_undeliverable(project.verdicts.get(file.key)):
            project.unreadable[file.key] = self._clock()
            project.offers += 1
        self._mirror.counts.metadata["none"] += 1
        raise MetadataUnavailable(project.name, file.filename, tried)

    def _known(self, project: Project, file: File) -> Read | None:
        known = project.read.get(file.key)
        if known is None or known.mark != mark_of(file):
            return None
        project.read.move_to_end(file.key)
        return known

    def _remember(self, project: Project, file: File, source: File, content: bytes) -> None:
        for each in (file, source):
            project.read[each.key] = Read(source.key, content, mark_of(each))
        while len(project.read) > 1 and sum(len(each.content) for each in project.read.values()) > _REMEMBERED:
            project.read.popitem(last=False)
        project.read_since_stored = True
        if project.unreadable.pop(file.key, None) is not None or isinstance(file.core_metadata, Sha256):
            project.offers += 1

    async def _read_one(self, project: Project, file: File, version: str, tried: dict[str, str]) -> bytes | None:
        failures = []
        for about_file, flow in self._ways(project, file, version):
            found = await self._mirror.converse(flow, project.who)
            if about_file:
                if found.evidence.status in {200, 206}:
                    self._ranges_ignored = found.evidence.status == 200
                await self._verifier.correct(project, file, found.evidence)
            if found.content is not None:
                if not about_file:
                    project.copied.add(file.key)
                    project.offers += 1
                return found.content
            if found.evidence.status in {401, 407}:
                challenges = (found.challenge,) if found.challenge else ()
                raise UpstreamStatus(shown(file.url), 401, challenges=challenges)
            failures.append(found.why)
        tried[file.filename] = " and ".join(dict.fromkeys(failures))
        return None

    def _ways(self, project: Project, file: File, version: str) -> list[tuple[bool, Flow[MetadataRead]]]:
        if file.packaging is Packaging.SDIST:
            return [(True, sdist_metadata(file.url, file.filename, project.name, version))]
        ways: list[tuple[bool, Flow[MetadataRead]]] = []
        if file.core_metadata:
            sha256 = file.core_metadata.sha256 if isinstance(file.core_metadata, Sha256) else None
            ways.append((False, metadata_copy(metadata_url(file.url), project.name, version, sha256)))
        ways.append((True, wheel_metadata(file.url, project.name, version, file.size, WHOLE_LIMIT)))
        return ways


def _source_of(project: Project, file: File, source: File) -> str:
    if source.packaging is Packaging.SDIST:
        return "sdist"
    if source.key != file.key:
        return "another-file"
    return "copy" if file.key in project.copied else "wheel"


def metadata_url(url: str) -> str:
    """Gives the address of a file's core metadata (PEP 658): the file's own, with `.metadata` appended to the path."""
    path, mark, query = url.partition("?")
    return f"{path}.metadata{mark}{query}"
