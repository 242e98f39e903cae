"""Rescuing files: what the mirror lists with a SHA-256 and cannot deliver comes from a second index, checked against that SHA-256.

Rules for this file: a file that the mirror refuses is not rescued, since somebody may have blocked it on purpose; what has not the bytes
that the mirror's page promises never comes to its end; the second index gets no credentials but its own.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import chain, islice

import structlog

from proxy.config import RescueSection
from proxy.core.errors import MirrormendError, UpstreamError, UpstreamTimeout
from proxy.core.filling import sha256_of
from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.flows.exchange import Trouble
from proxy.core.flows.metadata import metadata_copy, metadata_in_wheel
from proxy.core.flows.probe import probe
from proxy.core.identity import SHARED
from proxy.core.page import File, Page, Sha256
from proxy.core.twins import named
from proxy.core.verdict.judge import PASSING, Cause, Kind, Verdict, cause_of
from proxy.index.checked import NotTheFile, TooLargeForMetadata, begun, whole
from proxy.index.failure_backoff import FailureBackoff, asked_to_wait, retry_delay
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.metadata_reading import MetadataReader
from proxy.index.project import Project, Source
from proxy.index.second import SecondIndex, is_among
from proxy.index.verification import Verifier
from proxy.upstream import Download

_log = structlog.get_logger("mirrormend.index")

_TRIED_AGAIN = 8
"""Files of a page that are asked for at the second index once more before they are promised again."""

_PERMITTED_FOR = 3600.0
"""Seconds after which the mirror is asked for the whole of a file anew before pages promise it: it may be refused by now."""

_DOUBTED_AFTER = 15.0
"""Seconds after which a file that was refused is asked for alone again; ever more rarely if it is refused each time.

It is at once if a probe was refused a part of it: the proxy's own probes may be the crowd that was refused.
"""

_DOUBTED_AT_ONCE = 32
"""Refused files of a page that are asked for alone at one go."""

_ASKED_WHOLE = 64
"""Files of a page of which the mirror is asked for the whole at one go, before they are promised."""


class Rescue:
    """Finds and fetches files of one mirror at `second`, as the settings of `[rescue]` have it.

    `patience` is how long a page waits for the second index, `deadline` how long a file does, and `no` for how long a denial of the mirror
    counts; all in seconds.
    """

    def __init__(
        self,
        second: SecondIndex,
        section: RescueSection,
        tasks: Tasks,
        *,
        verifier: Verifier,
        patience: float,
        deadline: float,
        no: float,
        clock: Callable[[], float],
    ) -> None:
        self._second = second
        self._section = section
        self._causes = frozenset(Cause(each) for each in section.causes)
        self._verifier = verifier
        self._patience = patience
        self._deadline = deadline
        self._no = no
        self._clock = clock
        self._flights: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "sources")
        self._trying: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "sources again")
        self._asking: SingleFlight[tuple[str, str], None] = SingleFlight(tasks, "whole files")
        self._metadata_reader = MetadataReader()
        self._backoff = FailureBackoff(clock)
        self._doubts = FailureBackoff(clock, _DOUBTED_AFTER, no)

    @property
    def url(self) -> str:
        """The address of the second index, without credentials."""
        return self._second.mirror.url

    def covers(self, cause: Cause) -> bool:
        """Whether a file is rescued from this."""
        return cause in self._causes

    def instead(self, project: Project, file: File) -> bool:
        """Return whether the mirror denied `file` so lately that the second index is asked at once."""
        return self.denied_lately(project, file) and self.permitted(project, file, self._no)

    def denied_lately(self, project: Project, file: File) -> bool:
        """Return whether the mirror is known to deny `file`, and is not due to be asked again, nor refuses it."""
        verdict = project.verdicts.get(file.key)
        lately = verdict is not None and self._is_denial(verdict) and self._clock() - verdict.checked < self._no
        return lately and not self.refused(project, file)

    def refused(self, project: Project, file: File) -> bool:
        """Return whether the mirror refuses `file`: then it is not fetched elsewhere."""
        return self._verifier.refuses(project, file)

    def permitted(self, project: Project, file: File, within: float = _PERMITTED_FOR) -> bool:
        """Return whether the mirror denied `file` to who asked for all of it, for one of the causes, and did not refuse it since.

        That is so many seconds ago at most.
        """
        refusals = project.refusals_of(file)
        lately = self._clock() - refusals.denied < max(within, self._no)
        return lately and refusals.permit(self._causes, by_head=self._verifier.believes_head(project.who))

    def note_denial(self, project: Project, file: File, cause: Cause, *, since: float) -> None:
        """Note that a GET of all of `file` that was made at `since` was denied for this `cause`, whatever the verdict makes of it.

        A refusal that came meanwhile stands.
        """
        if project.refusals_of(file).refused < since:
            status = 404 if cause is Cause.ABSENT else 200
            project.record(file, Evidence(Asked.GET, status, self._clock()), cause)

    async def permitted_by_head(self, project: Project, file: File, within: float) -> bool:
        """Return the same; HEAD is asked before, where it was not, and has `within` so many seconds to answer in."""
        if not self.permitted(project, file):
            await self._verifier.ask_head(project, file, within)
        return self.permitted(project, file)

    async def permitted_by_whole(self, project: Project, file: File) -> bool:
        """Return the same; HEAD and a GET of the whole file are asked before, where they were not."""
        if not self.permitted(project, file):
            await self._verifier.ask_whole(project, (file,))
        return self.permitted(project, file)

    def listed(self, project: Project, page: Page) -> frozenset[str]:
        """Return the keys of files on `page` that the mirror does not deliver and the second index was seen to list with the same hash."""
        keys = {key for key, _ in project.sources if key in page.by_key and self._denied(project, key)}
        files = (page.by_key[key] for key in keys)
        return frozenset(file.key for file in files if self._source(project, file) is not None and not self.refused(project, file))

    async def prepare(self, project: Project, left: float) -> None:
        """Looks where the files come from that the mirror turned out not to deliver, for as long as a page can wait.

        That is as long as the settings say, and `left` allows (seconds). Of those that the second index has, the mirror is asked for the
        whole: what it turns out to refuse is not promised. Files of which it has not answered in that time are, and that goes on behind.
        """
        known = project.known
        if known is None or not self._asked_about(project):
            return
        if project.prepared_for == project.revision and not self.may_try_again(project):
            return
        await self._try_again(project, left)
        denied = (known.page.by_key.get(key) for key in project.verdicts if self._denied(project, key))
        files = [file for file in denied if file is not None and self._unsought(project, file)]
        key, began = (project.who.key, project.name), self._clock()
        if files:
            looking = self._flights.start(key, lambda: self._look(project, files))
            await self._second.patiently(looking, project.name, min(self._patience, left))
        unasked, doubtful = self._unasked(project, known.page)
        if unasked or doubtful:
            asking = self._asking.start(key, lambda: self._ask_whole(project, unasked, doubtful))
            await asyncio.wait({asking}, timeout=max(0.0, min(self._patience, left) - max(0.0, self._clock() - began)))
        elif not files:
            project.prepared_for = project.revision

    def state(self, project: Project) -> tuple[int, int, bool]:
        """Return what changes whenever `listed` may: pages of the project are made anew then."""
        return project.rescues, self._backoff.lasting(project.name), bool(project.sources) and self._second.failing

    def may_try_again(self, project: Project) -> bool:
        """Return whether what failed at the second index may be tried again, so that the page can list it once it works."""
        return next(self._due(project), None) is not None or next(self._doubtful(project), None) is not None

    def _doubtful(self, project: Project) -> Iterator[File]:
        """Give files that would be rescued if they were not refused, and whose refusal is to be looked into by now."""
        group = _group(project)
        if project.known is None or not self._doubts.count(group):
            return
        for key in self._doubts.due(group):
            file = project.known.page.by_key.get(key)
            if file is not None and self._denied(project, key) and self._source(project, file) and self.refused(project, file):
                yield file

    def _due(self, project: Project) -> Iterator[tuple[File, File]]:
        """Give files of the page that are to be tried again, each with the second index's, those first that failed themselves.

        Only such are as the page would list: the mirror denies them, and does not refuse them.
        """
        whole = self._second.failing
        if project.known is None or not project.sources or self._second.rests or not (whole or self._backoff.count(project.name)):
            return
        by_key = project.known.page.by_key
        untried = (key for key, _ in project.sources if not self._backoff.failing(project.name, key)) if whole else ()
        for key in chain(self._backoff.due(project.name), untried):
            file = by_key.get(key)
            source = None if file is None else self._found(project, file)
            if file is not None and source is not None and self._denied(project, key) and not self.refused(project, file):
                yield file, source

    async def _try_again(self, project: Project, left: float) -> None:
        """Ask the second index for files that failed, a few at a time, for as long as a page can wait."""
        trying = list(islice(self._due(project), _TRIED_AGAIN))
        if trying:
            work = self._trying.start((project.who.key, project.name), lambda: self._try_all(project, trying))
            await self._second.patiently(work, project.name, min(self._patience, left))

    async def _try_all(self, project: Project, trying: list[tuple[File, File]]) -> None:
        for file, source in trying:
            if self._second.rests:
                return
            try:
                async with asyncio.timeout(self._deadline), self.download(source) as download:
                    begun(download)
            except (NotTheFile, UpstreamError, TimeoutError) as error:
                self.failed(project, file, error)
            else:
                # It begins. Whether it comes to its end is seen once somebody asks for it.
                self._backoff.eased(project.name, file.key)
                self._second.succeeded()

    def succeeded(self, project: Project, file: File) -> None:
        """Note that the second index delivers `file`."""
        self._backoff.succeeded(project.name, file.key)
        self._second.succeeded()

    def rests(self, project: Project, file: File) -> bool:
        """Return whether the second index failed so lately that it is not asked for `file` again."""
        return self._second.rests or self._backoff.rests(project.name, file.key)

    def now(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._clock()

    @property
    def deadline(self) -> float:
        """The seconds within which the answer to a request for a file begins."""
        return self._deadline

    def hurries(self, project: Project, file: File) -> bool:
        """Return whether the mirror's silence is a reason to ask the second index for `file`, so that it is not waited for to its end."""
        if not self.covers(Cause.NO_ANSWER) or sha256_of(file) is None or not self._asked_about(project):
            return False
        return not (self.rests(project, file) or self.refused(project, file))

    async def find(self, project: Project, file: File, within: float | None = None) -> File | None:
        """Return the file of the second index that has the name and the SHA-256 of `file`; None where there is none, or it failed lately.

        Its page is waited for `within` so many seconds, without that as long as any file.
        """
        if not self._asked_about(project) or self.rests(project, file):
            return None
        if self._unsought(project, file):
            try:
                async with asyncio.timeout(self._deadline if within is None else within):
                    await self._look(project, [file])
            except TimeoutError:
                self._second.late(project.name, self._deadline if within is None else within)
                return None
            except MirrormendError as error:
                _log.warning("rescue-failed", project=project.name, file=file.filename, index=self.url, why=str(error))
                return None
        return self._found(project, file)

    def failed(self, project: Project, file: File, error: Exception, *, since: float | None = None, passing: bool = False) -> None:
        """Note that the second index did not deliver `file` either: it is no help for a while, and then has to show that it is.

        That is the time for which a denial counts where it has not the file, else a pause that grows with each failure.
        The request was made at `since` (None: just now), in seconds since the epoch. After a single failure that is `passing` pages go on
        to promise the file.
        """
        at_least = self._no if isinstance(error, NotTheFile) else asked_to_wait(error)
        cost = self._deadline if isinstance(error, TimeoutError | UpstreamTimeout) else 0.0
        pause = self._backoff.failed(project.name, file.key, at_least=at_least, cost=cost, since=since, passing=passing)
        why = str(error) or "too late"
        _log.warning("rescue-failed", project=project.name, file=file.filename, index=self.url, why=why, pause=round(pause))
        if isinstance(error, NotTheFile):
            return
        failed = error if isinstance(error, MirrormendError) else UpstreamTimeout(self.url, self._deadline)
        self._second.failed(f"{project.name}/{file.key}", failed, since=since)

    def download(self, source: File) -> AbstractAsyncContextManager[Download]:
        """Asks the second index for one of its files; raises UpstreamError where no answer comes."""
        return self._second.mirror.download("GET", source.url, SHARED)

    async def length(self, source: File) -> int | None:
        """Gives the size in bytes of a file that the second index delivers; None where it does not, or does not say."""
        evidence = await self._second.mirror.converse(probe(source.url, size=source.size), SHARED)
        return evidence.length if cause_of(evidence, source.size) is Cause.AVAILABLE else None

    async def metadata(self, project: Project, file: File, version: str) -> bytes | None:
        """Gives the core metadata of a wheel that the mirror does not deliver, None where it cannot be had.

        It is the second index's copy where the mirror's page gives its hash, else it is read out of the whole wheel, once that is checked.
        """
        verdict = project.verdicts.get(file.key)
        if (
            verdict is None
            or verdict.kind is Kind.DELIVERABLE
            or _is_policy(verdict)
            or not self.covers(verdict.cause)
            or not file.filename.endswith(".whl")
        ):
            return None
        passing = verdict.cause in PASSING and not self.refused(project, file)
        if not passing and not await self.permitted_by_whole(project, file):
            return None
        source = await self.find(project, file)
        if source is None:
            return None
        if isinstance(file.core_metadata, Sha256):
            path, mark, query = source.url.partition("?")
            flow = metadata_copy(f"{path}.metadata{mark}{query}", project.name, version, file.core_metadata.sha256)
            copy = await self._metadata_reader.read(self._second.mirror, flow, SHARED)
            if copy.content is not None:
                return copy.content
        try:
            wheel = await self._whole_wheel(source, sha256_of(file) or "")
        except TooLargeForMetadata as error:
            _log.info("too-large-for-metadata", project=project.name, file=file.filename, index=self.url, why=str(error))
            return None
        except (MirrormendError, NotTheFile) as error:
            self.failed(project, file, error)
            return None
        return await self._metadata_reader.apart(lambda: metadata_in_wheel(wheel, project.name, version))

    async def _whole_wheel(self, source: File, sha256: str) -> bytes:
        try:
            async with self.download(source) as download:
                return await whole(download, sha256)
        except (MirrormendError, NotTheFile) as error:
            delay = retry_delay(error)
            if delay is None:
                raise
            await asyncio.sleep(delay)
        async with self.download(source) as download:
            return await whole(download, sha256)

    def _unasked(self, project: Project, page: Page) -> tuple[list[File], list[File]]:
        """Return files that would be rescued and of which the mirror was not asked for the whole, and those whose refusal is doubtful.

        Files of new releases come first.
        """
        now, unasked, doubtful = self._clock(), list[File](), list[File]()
        for file in (file for release in page.releases for file in release.files) if project.sources else ():
            if not self._denied(project, file.key) or self._source(project, file) is None or self.permitted(project, file):
                continue
            if self._is_refused(project, file):
                if self._is_doubtful(project, file) and len(doubtful) < _DOUBTED_AT_ONCE:
                    doubtful.append(file)
            elif not 0 <= now - project.asked_whole.get(file.key, 0.0) < self._no and len(unasked) < _ASKED_WHOLE:
                unasked.append(file)
        return unasked, doubtful

    def _is_doubtful(self, project: Project, file: File) -> bool:
        """Return whether the refusal of `file` is to be looked into now; it is after a while, whatever is said here."""
        group = _group(project)
        if not self._doubts.failing(group, file.key):
            if file.key in project.refused_to_probes:
                return True
            self._doubts.failed(group, file.key)
        return not self._doubts.rests(group, file.key)

    def _is_refused(self, project: Project, file: File) -> bool:
        refusals = project.refusals_of(file)
        # Else it was not seen yet in this run what a refusal of HEAD is worth.
        known = self._verifier.head_tested(project.who) or refusals.refuse(by_head=False)
        return known and refusals.refuse(by_head=self._verifier.believes_head(project.who))

    async def _ask_whole(self, project: Project, files: list[File], doubtful: list[File]) -> None:
        for file in files:
            project.asked_whole[file.key] = self._clock()
        for file in doubtful:
            # Noted before the answer, so that they are not asked for again meanwhile.
            self._doubts.failed(_group(project), file.key)
            project.refused_to_probes.discard(file.key)
        if files:
            await self._verifier.ask_whole(project, files, patient=True)
        if doubtful:
            await self._verifier.ask_whole(project, doubtful, alone=True)
        for file in doubtful:
            if not self.refused(project, file):
                self._doubts.succeeded(_group(project), file.key)

    async def _look(self, project: Project, files: list[File]) -> None:
        told = await self._second.page(project.name)
        for file in files:
            digest = sha256_of(file) or ""
            project.sources[file.key, digest] = Source(named(told.page, file.filename, digest), self._clock())
        project.rescues += 1

    def _source(self, project: Project, file: File) -> File | None:
        """Return where `file` can be had, None where nowhere, or where that fails for more than a moment."""
        failing = self._second.failing or self._backoff.lasts(project.name, file.key)
        return None if failing else self._found(project, file)

    @staticmethod
    def _found(project: Project, file: File) -> File | None:
        found = project.sources.get((file.key, sha256_of(file) or ""))
        return None if found is None else found.file

    def _unsought(self, project: Project, file: File) -> bool:
        """Whether the second index is to be looked at for `file`: never without a hash to know it by, and again after a while in vain."""
        digest = sha256_of(file)
        if digest is None:
            return False
        found = project.sources.get((file.key, digest))
        return found is None or (found.file is None and self._clock() - found.sought >= self._no)

    def _asked_about(self, project: Project) -> bool:
        return is_among(project.name, self._section) and self._second.asked_about(project.name)

    def _denied(self, project: Project, key: str) -> bool:
        verdict = project.verdicts.get(key)
        return verdict is not None and self._is_denial(verdict)

    def _is_denial(self, verdict: Verdict) -> bool:
        return verdict.kind is Kind.UNDELIVERABLE and verdict.cause in self._causes


def _is_policy(verdict: Verdict) -> bool:
    """Return whether an outbound proxy kept the file back: that is its administrator's will, and says nothing of the mirror."""
    return verdict.evidence.trouble == Trouble.OUTBOUND_PROXY.value


def _group(project: Project) -> str:
    return f"{project.who.key} {project.name}"
