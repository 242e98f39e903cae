"""A second index: what its pages say, asked for only where the mirror's page leaves something open, and remembered.

It is a help and never a condition: nobody waits for it longer than the settings say, and nothing fails because of it.
It is asked with the configured credentials or none, never with a client's.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from fnmatch import fnmatchcase

import structlog

from proxy.config import ProbeSection, ReferenceSection, SecondSection, UpstreamSection
from proxy.core.errors import MirrormendError, OwnLimit, UpstreamBroke, UpstreamStatus, UpstreamTimeout, UpstreamUnreachable
from proxy.core.identity import SHARED
from proxy.core.page import Page, normalised_spelling
from proxy.index.documents import PageDocument, decode, encode
from proxy.index.failure_backoff import LONGEST_PAUSE, FailureBackoff, asked_to_wait
from proxy.index.flights import SingleFlight, Tasks
from proxy.index.reading import digest_of, read_page
from proxy.store import Room, Store
from proxy.upstream import FetchedPage, Mirror, Validators

_log = structlog.get_logger("mirrormend.index")

_LINKS_HELD = 40_000
"""Links of parsed pages that are held in memory; the others are read again from the store, where they are wanted again."""

_PROJECTS_HELD = 5000
_KEPT_FOR = 30 * 86400.0
_LONGEST_FETCH = 120.0
"""Seconds after which a page that is still on its way is given up, though nobody may be waiting for it any more."""

_LATE_FOR, _LONGEST_LATE = 30.0, 600.0
"""Seconds for which nobody waits for an index that was late, and after it was late many times in a row."""

_IN_A_ROW = 3
"""So many pages and files that failed in passing while none came, and it is the index that fails."""


@dataclass(frozen=True, slots=True)
class SecondPage:
    """What the second index lists of a project, and the digest of its bytes; where it has no such project, a page without files."""

    page: Page
    digest: str


_NOTHING = SecondPage(Page("", "", ()), "")


@dataclass(slots=True)
class _Held:
    """What is known of one project: its page, unless that left the memory, or why there is none. Times are in seconds since the epoch."""

    told: SecondPage | None
    validators: Validators
    again: float
    digest: str = ""
    error: MirrormendError | None = None

    @property
    def weight(self) -> int:
        return 0 if self.told is None else len(self.told.page.files)


class SecondIndex:
    """The pages of one second index. `freshness` says how long a page, and how long an absence, is used; in seconds.

    It is asked about the projects that `section` names, of these only about those that are `admitted`.
    """

    def __init__(
        self,
        mirror: Mirror,
        section: SecondSection,
        freshness: ReferenceSection,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        admitted: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.mirror = mirror
        self._section = section
        self._admitted = admitted
        self._freshness = freshness
        self._store = store
        self._clock = clock
        self._tasks = Tasks()
        self._flights: SingleFlight[str, SecondPage] = SingleFlight(self._tasks, "second")
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._late_until = 0.0
        self._late_for = _LATE_FOR
        self._backoff = FailureBackoff(clock)
        self._page_backoff = FailureBackoff(clock)
        self._failures: set[str] = set()
        # Another second index is another room, and a mirror cannot be called like that.
        self._prefix = f"@{mirror.key}/"

    async def close(self) -> None:
        """Stops what is under way."""
        await self._tasks.close()

    def asked_about(self, name: str) -> bool:
        """Return whether the settings allow that the second index learns the `name` of a project."""
        return is_among(name, self._section) and self._admitted(name)

    def is_current(self, name: str, digest: str) -> bool:
        """Whether the page of the project that has this digest is what `page` would give now, without asking."""
        held = self._held.get(name)
        return held is not None and held.digest == digest and self._stands(name, held)

    async def page(self, name: str) -> SecondPage:
        """Gives what the second index lists of the project with the normalised `name`, however long that takes.

        Of a project that it may not be asked about it lists nothing, and it is not asked.
        Raises UpstreamError or PageUnreadable where it gives nothing and nothing is remembered.
        """
        if not self.asked_about(name):
            return _NOTHING
        held = self._held.get(name)
        if held is not None and self._stands(name, held):
            self._held.move_to_end(name)
            if held.told is not None:
                return held.told
            if held.error is not None:
                # One error raised for many would hold the frames, and so the requests, of all of them.
                raise copy(held.error)
        return await self._flights.do(name, lambda: self._refresh(name))

    async def patiently(self, work: "asyncio.Task[None]", name: str, seconds: float) -> None:
        """Waits for `work`, which needs the page of the project `name`, at most so many seconds; then it goes on behind.

        Once the second index was late, nobody waits for it for half a minute. What made the work fail was logged when it happened.
        """
        now = self._clock()
        if work.done() or seconds <= 0 or 0 < self._late_until - now <= _LONGEST_LATE:
            return
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(work)
        except TimeoutError:
            self._late_until = now + self._late_for
            self._late_for = min(2 * self._late_for, _LONGEST_LATE)
            _log.warning("second-index-late", index=self.mirror.url, project=name, waited=seconds)
        except MirrormendError:
            return
        else:
            self._late_for = _LATE_FOR

    @property
    def failing(self) -> bool:
        """True if the index failed as a whole when it was last asked, however long ago; it promises nothing until it works again."""
        return self._backoff.failing("", "")

    @property
    def rests(self) -> bool:
        """True if the index failed as a whole so lately that it is not to be asked."""
        return self._backoff.rests("", "")

    def failed(self, about: str, error: MirrormendError, *, since: float | None = None) -> None:
        """Note that a page or a file, called `about`, could not be had. That may be a matter of its own, or that of the whole index.

        The request was made at `since` (None: just now), in seconds since the epoch.
        """
        if isinstance(error, OwnLimit) or (isinstance(error, UpstreamStatus) and error.status != 429 and error.status < 500):
            return
        if len(self._failures) < _IN_A_ROW:
            self._failures.add(about)
        # A 503 with Retry-After is of one file or page; 429 is about whoever asks (RFC 6585, section 4).
        limited = isinstance(error, UpstreamStatus) and error.status == 429
        if limited or len(self._failures) >= _IN_A_ROW or isinstance(error, UpstreamUnreachable):
            # However long it asks for, it is tried now and then: so much depends on it.
            wish = min(asked_to_wait(error), LONGEST_PAUSE) if limited else 0.0
            seconds = self._backoff.failed("", "", at_least=wish, since=since)
            _log.warning("second-index-rests", index=self.mirror.url, why=str(error), seconds=round(seconds))

    def succeeded(self) -> None:
        """Note that a page or a file came."""
        self._failures.clear()
        self._backoff.succeeded("", "")

    async def _refresh(self, name: str) -> SecondPage:
        held = self._held.get(name)
        if held is None or (held.told is None and held.error is None):
            held = await self._load(name, held)
        if held is not None and held.told is not None and self._stands(name, held):
            return held.told
        if self.rests:
            if held is not None and held.told is not None:
                return held.told
            raise UpstreamUnreachable(self.mirror.url, "it failed lately, and is left alone for a while")
        try:
            async with asyncio.timeout(_LONGEST_FETCH):
                return await self._ask(name, held)
        except TimeoutError:
            return self._failed(name, UpstreamTimeout(self.mirror.url, _LONGEST_FETCH), cost=_LONGEST_FETCH)
        except (MirrormendError, OSError) as error:
            # Whatever it is, the page of the mirror is served without it.
            failed = error if isinstance(error, MirrormendError) else UpstreamBroke(self.mirror.url, str(error))
            return self._failed(name, failed)

    def late(self, name: str, waited: float) -> None:
        """Note that the page of the project `name` was waited for so many seconds in vain; once it comes after all, it is used."""
        with suppress(MirrormendError):
            self._failed(name, UpstreamTimeout(self.mirror.url, waited), cost=waited)

    def _failed(self, name: str, error: MirrormendError, *, cost: float = 0.0) -> SecondPage:
        """Note that a page could not be had; return the one that is at hand, or raise the error."""
        wish = asked_to_wait(error)
        pause = self._page_backoff.failed(name, "", at_least=wish, cost=cost)
        _log.warning("second-index-failed", index=self.mirror.url, project=name, why=str(error), pause=pause)
        self.failed(name, error)
        held = self._held.get(name)
        if held is None or held.told is None:
            self._hold(name, _Held(None, Validators(), 0.0, error=copy(error)))
            raise error from None
        return held.told

    async def _ask(self, name: str, held: _Held | None) -> SecondPage:
        told = None if held is None else held.told
        try:
            fetched = await self.mirror.fetch_page(name, SHARED, None if held is None or told is None else held.validators)
        except UpstreamStatus as error:
            if error.status not in {404, 410}:
                raise
            fetched = FetchedPage(b"", None, self.mirror.url, Validators(), {})
        now = self._clock()
        if held is not None and told is not None and not isinstance(fetched, FetchedPage):
            self._page_backoff.succeeded(name, "")
            self.succeeded()
            held.again = now + self._fresh_for(told)
            return told
        if not isinstance(fetched, FetchedPage):
            raise UpstreamBroke(self.mirror.url, "it says that nothing changed, though it was not asked whether anything did")
        told = await _read(name, fetched)
        self._page_backoff.succeeded(name, "")
        self.succeeded()
        self._hold(name, _Held(told, fetched.validators, now + self._fresh_for(told), told.digest))
        self._store.put(Room.PAGE, self._prefix + name, encode(PageDocument.of(fetched, now)), _KEPT_FOR)
        return told

    async def _load(self, name: str, before: _Held | None) -> _Held | None:
        document = decode(await self._store.get(Room.PAGE, self._prefix + name), PageDocument)
        if document is None:
            return None
        try:
            fetched = await document.page(self.mirror.page_limit)
            told = await _read(name, fetched)
        except MirrormendError as error:
            _log.warning("stored-page-unreadable", index=self.mirror.url, project=name, why=str(error))
            return None
        held = _Held(told, fetched.validators, document.checked + self._fresh_for(told), told.digest)
        if before is not None and before.digest == told.digest:
            # It was confirmed since it was stored.
            held.again = max(held.again, before.again)
        self._hold(name, held)
        return held

    def _stands(self, name: str, held: _Held) -> bool:
        """Return whether the second index need not be asked again yet; one that was asked in the future, before the clock went back, is."""
        if self._page_backoff.rests(name, ""):
            return True
        if held.error is not None:
            return False
        longest = max(self._freshness.fresh, self._freshness.absent) if held.told is None else self._fresh_for(held.told)
        return 0 < held.again - self._clock() <= longest

    def _fresh_for(self, told: SecondPage) -> float:
        return self._freshness.fresh if told.page.files else self._freshness.absent

    def _hold(self, name: str, held: _Held) -> None:
        self._held[name] = held
        self._held.move_to_end(name)
        links = sum(each.weight for each in self._held.values())
        for other in list(self._held.values())[:-1]:
            if links <= _LINKS_HELD:
                break
            links -= other.weight
            other.told = None
        while len(self._held) > _PROJECTS_HELD:
            self._held.popitem(last=False)


async def _read(name: str, fetched: FetchedPage) -> SecondPage:
    page = await read_page(name, fetched) if fetched.body else Page(name, name, ())
    return SecondPage(page, digest_of(fetched))


def is_among(name: str, section: SecondSection) -> bool:
    """Return whether the project `name` is among those that `section` names, and not excluded."""
    return _fits(name, section.projects) and not is_excluded(name, section)


def is_excluded(name: str, section: SecondSection) -> bool:
    """Return whether `section` excludes the project `name`."""
    return _fits(name, section.exclude)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    normalised = normalised_spelling(name)
    return any(fnmatchcase(normalised, each) for each in patterns)


def second_mirror(section: SecondSection, name: str, probe: ProbeSection) -> Mirror:
    """Gives the way to the second index that `section` names, which must have a URL; `name` is what logs call it."""
    shared = {"url", "username", "password", "token", "ca_bundle", "client_cert", "client_key", "proxy", "allow_hosts"}
    told = section.model_dump(include=shared, exclude_none=True)
    if "token" in told:
        told = {key: value for key, value in told.items() if key not in {"username", "password"}}
    return Mirror(
        UpstreamSection.model_validate({**told, "name": name, "connections": 16, "retries": 1, **_timeouts(probe)}),
        probe,
        looks_inside=False,
    )


def _timeouts(probe: ProbeSection) -> dict[str, float]:
    """Return how long the second index may be silent: who asks for a file has to have an answer within the deadline of `[probe]`."""
    defaults = UpstreamSection.model_fields
    return {name: min(defaults[name].default, probe.deadline) for name in ("connect_timeout", "read_timeout")}
