"""The gate: core metadata for every wheel, whatever the mirror offers.

The mirror's own copy comes first, then METADATA read out of the wheel by ranges,
then that of the release's other wheels in the order in which uv would read them, those for other platforms first,
then the sdist's PKG-INFO where it is static,
then the wheel itself as a second index has it.
uv itself takes one wheel's metadata for all of a version.

Another file's metadata is remembered only while the file itself is proven absent. After a failure in passing it is served once:
the file may have requirements of its own.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from proxy.core.errors import MetadataUnavailable, MirrormendError, UpstreamStatus
from proxy.core.filling import sha256_of
from proxy.core.flows.evidence import DELIVERED, WHOLE
from proxy.core.flows.metadata import MetadataFlow, metadata_copy, sdist_metadata, wheel_metadata
from proxy.core.page import File, Packaging, Page, Release, Sha256
from proxy.core.render import MetadataOffer, Offer
from proxy.core.verdict.judge import PASSING, PROOF, Cause, cause_of, is_undeliverable
from proxy.core.verdict.plan import by_resolver_order
from proxy.core.verdict.proof import platform_tag
from proxy.core.verdict.reason import Reason
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.metadata_reading import MetadataReader
from proxy.index.project import Project, Read, mark_of
from proxy.index.replicas import ALONE, Replicas, Work
from proxy.index.requirements_seen import RequirementsSeen
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
_UNREADABLE_REMEMBERED = 4096
_DENIAL_STANDS_FOR = 3600.0
"""Seconds for which a denial is reason enough to go on serving another file's metadata, without a look at the file itself."""

_WHEEL_DASHES = (4, 5)
"""Between the parts of a wheel's name (PyPA specifications, binary distribution format), without and with a build tag."""


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """Core metadata for a file: the `content`, its SHA-256, and the key of the file of the same release that it was read from.

    `own` says that this is the file itself; then it is `immutable` if the mirror's page gives the file's SHA-256.
    """

    content: bytes
    source: str
    sha256: str
    own: bool = True
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a file gave no metadata; `passing`: no answer, or an error of the mirror's own; `refused`: a denial, or such an error."""

    why: str
    passing: bool
    refused: bool


class _InDoubt(MirrormendError):
    """End a reading ahead: the mirror denied the file, and it was not asked for alone."""


def _told(tried: Mapping[str, _Failure]) -> dict[str, str]:
    return {name: each.why for name, each in tried.items()}


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
        requirements: RequirementsSeen | None = None,
    ) -> None:
        self._mirror = mirror
        self._verifier = verifier
        self._replicas = replicas
        self._requirements = requirements or RequirementsSeen(clock)
        self._rescue = rescue
        self._clock = clock
        self._ranges_ignored = False
        self._gives_ends: bool | None = None
        self._trying_ends = False
        self._reader = MetadataReader()
        self._unreadable: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._flights: SingleFlight[tuple[str, str, str], CoreMetadata] = SingleFlight(tasks, "metadata")

    def offers(self, project: Project) -> MetadataOffer:
        """Return what pages say of files' core metadata: the hash where it was seen to match, true for other wheels, else nothing.

        An sdist has it where the mirror's page says so: without it pip would run the sdist's build backend.
        """
        return partial(self._offered, project.read, project.unreadable, self._clock() - _UNREADABLE_FOR)

    def _offered(
        self, read: Mapping[str, Read], unreadable: Mapping[str, float], long_ago: float, files: Sequence[File]
    ) -> Sequence[Offer]:
        names = [file.filename for file in files]
        made = _offers_by_default(files, names)
        special, keys = read.keys() | unreadable.keys(), [file.key for file in files] if read or unreadable else names
        if self._ranges_ignored or not special.isdisjoint(keys):
            for place, key in enumerate(keys):
                if self._ranges_ignored or key in special:
                    readable = made[place] is not None and unreadable.get(key, long_ago) <= long_ago
                    made[place] = self._offer(files[place], read.get(key)) if readable else None
        return made

    def _offer(self, file: File, known: Read | None) -> Offer:
        if not isinstance(file.core_metadata, Sha256):
            return True if file.core_metadata or not self._ranges_ignored or (file.size or 0) <= WHOLE_LIMIT else None
        if known is None or known.source != file.key or known.mark != mark_of(file):
            return True
        return file.core_metadata if known.sha256 == file.core_metadata.sha256 else True

    def unreadable(self, project: Project, file: File) -> bool:
        """Whether the metadata of `file` was lately found to be had nowhere."""
        long_ago = self._clock() - _UNREADABLE_FOR
        return project.unreadable.get(file.key, long_ago) > long_ago

    async def metadata(self, project: Project, page: Page, file: File, *, reason: Reason = Reason.DEMAND) -> CoreMetadata:
        """Return the core metadata of `file`, listed on `page`; the mirror is asked for this `reason`.

        Raises MetadataUnavailable where no file of the release gives it, UpstreamStatus where the mirror wants credentials.
        """
        known = self._known(project, file)
        if known is not None:
            # It may come from the store, or be asked for again after a long time.
            self._requirements.note(project.who, project.name, known.sha256, known.content)
            return _given(file, known)
        while True:
            # Who joins a reading ahead that ends in doubt begins anew.
            with suppress(_InDoubt):
                return await self._flight(project, page, file, reason)

    async def _flight(self, project: Project, page: Page, file: File, reason: Reason, *, ahead: bool = False) -> CoreMetadata:
        key = project.who.key, project.name, file.key
        return await self._flights.do(key, lambda: self._read_noted(project, page, file, reason, ahead=ahead))

    def has_read(self, project: Project, file: File) -> bool:
        """Tell whether metadata for `file` is at hand."""
        return self._known(project, file) is not None

    async def read_ahead(self, project: Project, page: Page, files: list[File], *, reason: Reason = Reason.AWAITED) -> None:
        """Read the metadata of `files` before they are asked for; what fails is left for the request to find out."""

        async def read(file: File) -> None:
            await self._ahead(project, page, file, reason, lambda: self.metadata(project, page, file, reason=reason))

        await asyncio.gather(*(read(file) for file in files))

    async def try_ahead(self, project: Project, page: Page, files: Iterable[File]) -> list[File]:
        """Read the metadata of `files` as `read_ahead` does, and return those that were denied and may be delivered all the same.

        A resolver asks for one of these only if it stays on the page. Then it is asked for alone, not before: nothing else could start.
        """
        denied: list[File] = []

        async def read(file: File) -> None:
            if self.has_read(project, file):
                return
            try:
                await self._ahead(
                    project, page, file, Reason.AWAITED, lambda: self._flight(project, page, file, Reason.AWAITED, ahead=True)
                )
            except _InDoubt:
                denied.append(file)

        await asyncio.gather(*(read(file) for file in files))
        return denied

    async def _ahead(self, project: Project, page: Page, file: File, reason: Reason, read: Callable[[], Awaitable[object]]) -> None:
        """Read a wheel's metadata ahead by `read`, or what an sdist itself requires; what fails is left for the request to find out."""
        try:
            await (self._read_sdist_ahead(project, page, file, reason) if file.packaging is Packaging.SDIST else read())
        except (MetadataUnavailable, UpstreamStatus) as error:
            _log.debug("read-ahead failed", project=project.name, file=file.filename, why=str(error))

    async def _read_sdist_ahead(self, project: Project, page: Page, file: File, reason: Reason) -> None:
        """Note what an sdist requires if it says so itself: nobody asks for its metadata, so that no other file is read in its place."""
        known = self._known(project, file)
        if known is not None:
            self._requirements.note(project.who, project.name, known.sha256, known.content)
        elif mark_of(file) not in self._unreadable:
            with self._requirements.reading(project.who, lambda: project.asked_for):
                content = await self._read_one(project, file, page.release_of(file).spelling, {}, reason=reason)
                if content is not None:
                    read = await self._remember(project, file, file, content)
                    self._requirements.note(project.who, project.name, read.sha256, content)

    async def _read_noted(self, project: Project, page: Page, file: File, reason: Reason, *, ahead: bool) -> CoreMetadata:
        """Read the metadata, and note what it requires before anybody is given it: who is given it may ask for those pages at once."""
        with self._requirements.reading(project.who, lambda: project.asked_for):
            found = await self._read_any(project, page, file, reason, ahead=ahead)
            self._requirements.note(project.who, project.name, found.sha256, found.content)
            return found

    async def _read_any(self, project: Project, page: Page, file: File, reason: Reason, *, ahead: bool) -> CoreMetadata:
        async with self._replicas.turn(project, Work.METADATA, file.key):
            known = self._known(project, file)
            return _given(file, known) if known is not None else await self._read_release(project, page, file, reason, ahead=ahead)

    async def _read_release(self, project: Project, page: Page, file: File, reason: Reason, *, ahead: bool) -> CoreMetadata:
        tried: dict[str, _Failure] = {}
        release = page.release_of(file)
        for source in _sources(project, release, file, tried):
            known = self._known(project, source)
            if known is not None and known.source != source.key:
                # What is known of it is another file's, whose turn comes.
                continue
            content = known.content if known is not None else await self._read_one(project, source, release.spelling, tried, reason=reason)
            if content is None and source is file and tried[file.key].refused and not self._is_denied(project, file):
                if ahead:
                    raise _InDoubt
                # The proxy's own probes may be the crowd that it was refused for; before another file speaks for it, it is asked for alone.
                content = await self._read_one(project, source, release.spelling, tried, reason=reason, alone=True)
            if content is not None:
                if source.key != file.key:
                    _log.warning(
                        "metadata-of-another-file", project=project.name, file=file.filename, source=source.filename, tried=_told(tried)
                    )
                self._mirror.counts.metadata[_source_of(project, file, source)] += 1
                return _given(file, await self._remember(project, file, source, content, rescued=known is not None and known.rescued))
        rescued = None if self._rescue is None else await self._rescue.metadata(project, file, release.spelling)
        if rescued is not None:
            return _given(file, await self._remember(project, file, file, rescued, rescued=True))
        own = tried.get(file.key)
        if (own is None or not own.passing) and self._stays_on_page(project, page, file):
            project.unreadable[file.key] = self._clock()
            project.offers += 1
        self._mirror.counts.metadata["none"] += 1
        raise MetadataUnavailable(project.name, file.filename, _told(tried))

    def _stays_on_page(self, project: Project, page: Page, file: File) -> bool:
        """Tell whether clients see `file`: the mirror does not deny it, or it is rescued."""
        if not is_undeliverable(project.verdicts.get(file.key)):
            return True
        return self._rescue is not None and file.key in self._rescue.listed(project, page)

    def _known(self, project: Project, file: File) -> Read | None:
        known = project.read.get(file.key)
        if known is None or known.mark != mark_of(file) or (known.rescued and self._refused(project, file, known.source)):
            return None
        if known.source != file.key and not self._is_denied(project, file):
            del project.read[file.key]
            project.read_since_stored = True
            return None
        project.read.move_to_end(file.key)
        return known

    def _refused(self, project: Project, file: File, source: str) -> bool:
        """Tell whether the mirror refuses `file`, or that with the key `source`: then nobody gets what a second index gave instead."""
        other = None if source == file.key or project.known is None else project.known.page.by_key.get(source)
        return any(self._verifier.refuses(project, each) for each in (file, other) if each is not None)

    def _is_denied(self, project: Project, file: File) -> bool:
        """Tell whether `file` is proven absent, by an answer that is not too old."""
        verdict = project.verdicts.get(file.key)
        return verdict is not None and is_undeliverable(verdict) and 0 <= self._clock() - verdict.evidence.at < _DENIAL_STANDS_FOR

    async def _remember(self, project: Project, file: File, source: File, content: bytes, *, rescued: bool = False) -> Read:
        """Remember what was read of `source`, `rescued` or not, also for `file` if that is denied; return what is served for `file`."""
        digest = await self._reader.sha256(content)
        project.read[source.key] = Read(source.key, content, mark_of(source), digest, rescued)
        read = Read(source.key, content, mark_of(file), digest, rescued)
        if source.key != file.key and self._is_denied(project, file):
            project.read[file.key] = read
        while len(project.read) > 1 and sum(len(each.content) for each in project.read.values()) > _REMEMBERED:
            project.read.popitem(last=False)
        project.read_since_stored = True
        if project.unreadable.pop(file.key, None) is not None or isinstance(file.core_metadata, Sha256):
            project.offers += 1
        return read

    async def _read_one(
        self, project: Project, file: File, version: str, tried: dict[str, _Failure], *, reason: Reason, alone: bool = False
    ) -> bytes | None:
        failures, passing, refused = [], False, False
        for about_file, flow in self._ways(project, file, version):
            known = self._known_unreadable(file) if about_file else ""
            if known:
                failures.append(known)
                passing = False
                continue
            found = await self._reader.read(self._mirror, flow, project.who, alone=alone, reason=reason)
            if about_file:
                # A mirror that ignores what is asked for by `bytes=-N` alone may give what is asked for by both ends.
                if found.evidence.status in DELIVERED and (found.evidence.status not in WHOLE or found.suffix is None):
                    self._ranges_ignored = found.evidence.status in WHOLE
                await self._verifier.correct(project, file, found.evidence, wait=False)
            if found.content is not None:
                if not about_file:
                    project.copied.add(file.key)
                    project.offers += 1
                return found.content
            if found.evidence.status in {401, 407}:
                challenges = (found.challenge,) if found.challenge else ()
                raise UpstreamStatus(shown(file.url), 401, challenges=challenges)
            if found.costly:
                self._note_unreadable(file, found.why)
            failures.append(found.why)
            cause = cause_of(found.evidence, None)
            passing = cause in PASSING
            refused |= cause in PROOF or cause is Cause.MIRROR_ERROR
        tried[file.key] = _Failure(" and ".join(dict.fromkeys(failures)), passing, refused)
        return None

    def _known_unreadable(self, file: File) -> str:
        """Return why the content of `file`, which took long to look at, was found to hold no metadata lately; empty where it was not."""
        noted, why = self._unreadable.get(mark_of(file), (0.0, ""))
        return why if 0 <= self._clock() - noted < _UNREADABLE_FOR else ""

    def _note_unreadable(self, file: File, why: str) -> None:
        self._unreadable[mark_of(file)] = self._clock(), why
        self._unreadable.move_to_end(mark_of(file))
        if len(self._unreadable) > _UNREADABLE_REMEMBERED:
            self._unreadable.popitem(last=False)

    def _ways(self, project: Project, file: File, version: str) -> list[tuple[bool, MetadataFlow]]:
        ways: list[tuple[bool, MetadataFlow]] = []
        if file.core_metadata:
            sha256 = file.core_metadata.sha256 if isinstance(file.core_metadata, Sha256) else None
            ways.append((False, metadata_copy(metadata_url(file.url), project.name, version, sha256)))
        if file.packaging is Packaging.SDIST:
            ways.append((True, sdist_metadata(file.url, file.filename, project.name, version)))
        else:
            ways.append((True, self._wheel(project, file, version)))
        return ways

    def _wheel(self, project: Project, file: File, version: str) -> MetadataFlow:
        """Read METADATA of a wheel; ask for its end where its size is unknown and the mirror gave such before, or was not tried yet."""
        size = file.size or _size_seen(project, file)
        trial = not size and self._gives_ends is None and not self._trying_ends
        self._trying_ends |= trial
        try:
            suffix = trial or bool(self._gives_ends)
            found = yield from wheel_metadata(file.url, project.name, version, size, WHOLE_LIMIT, suffix=suffix)
        finally:
            self._trying_ends &= not trial
        if found.suffix is not None:
            self._gives_ends = found.suffix
        return found


def _size_seen(project: Project, file: File) -> int | None:
    """Return the size of `file` in bytes by the last answer that delivered it, None if none told it."""
    verdict = project.verdicts.get(file.key)
    return verdict.evidence.length if verdict is not None and verdict.evidence.status in DELIVERED else None


def _offers_by_default(files: Sequence[File], names: Sequence[str]) -> list[Offer]:
    fewest, most = _WHEEL_DASHES
    made: list[Offer] = [True if name.endswith(".whl") and fewest <= name.count("-") <= most else None for name in names]
    for place, offer in enumerate(made):
        if offer is None and files[place].core_metadata and files[place].packaging is Packaging.SDIST:
            made[place] = True
    return made


def _given(file: File, read: Read) -> CoreMetadata:
    own = read.source == file.key
    return CoreMetadata(read.content, read.source, read.sha256, own=own, immutable=own and sha256_of(file) is not None)


def _source_of(project: Project, file: File, source: File) -> str:
    if source.key == file.key and file.key in project.copied:
        return "copy"
    if source.packaging is Packaging.SDIST:
        return "sdist"
    return "another-file" if source.key != file.key else "wheel"


def metadata_url(url: str) -> str:
    """Gives the address of a file's core metadata (PEP 658): the file's own, with `.metadata` appended to the path."""
    path, mark, query = url.partition("?")
    return f"{path}.metadata{mark}{query}"


def _sources(project: Project, release: Release, file: File, tried: Mapping[str, _Failure]) -> Iterator[File]:
    """Yield `file`, then the files of its `release` that may speak for it, those last that are known to be undeliverable."""
    yield file
    # Mostly a file tells it itself, and the others are never put in order.
    mark = mark_of(file)
    siblings = [each for each in by_resolver_order(release.files) if each.key != file.key]
    siblings.sort(key=lambda each: (mark_of(each) != mark, is_undeliverable(project.verdicts.get(each.key))))
    yield from _other_platforms_first(file, siblings, tried)
    yield from (each for each in release.files if each.packaging is Packaging.SDIST and each.key != file.key)


def _other_platforms_first(file: File, siblings: Iterable[File], tried: Mapping[str, _Failure]) -> Iterator[File]:
    """Yield some of the `siblings` of `file`, last those for a platform of which one was `tried` in vain.

    A mirror that lacks a wheel mostly lacks all of its platform, and where a request is a download each of these is one.
    """
    left = list(siblings)
    mark, failed = mark_of(file), {platform_tag(file)} if file.key in tried else set[str]()
    for _ in range(min(_SIBLINGS, len(left))):
        # The same file at another address comes before any other file.
        source = next((each for each in left if mark_of(each) == mark or platform_tag(each) not in failed), left[0])
        left.remove(source)
        yield source
        if source.key in tried:
            failed.add(platform_tag(source))
