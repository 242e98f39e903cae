"""Deciding whether a client is known, without letting anybody learn how near a guess was, and without holding up the event loop.

Nothing here remembers what a client sent: what was decided is kept under digests whose key nobody else has.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

import bcrypt
import structlog

from proxy.core.errors import TooManySignIns
from proxy.server.access.accounts import Accounts
from proxy.server.access.cores import usable_cores
from proxy.server.access.presented import Presented, presented
from proxy.server.access.sign_in_queue import Entry, QueueFull, SignInQueue

_log = structlog.get_logger("mirrormend.server")

_YES_FOR = 300.0
_RENEWED_AFTER = 180.0
"""Seconds after which a yes that is used is checked anew, behind the request; up to a minute more, so that not all are at once."""
_RENEWED_WITHIN = 60.0
_NO_FOR = 10.0
_REMEMBERED = 4096
_PATIENCE = 25.0
"""Seconds for which a password waits to be checked: uv gives up after 30. pip asks again after 15, and finds its place kept."""
_LOOK_FOR_GONE_EVERY = 2.0
"""Seconds between looks for clients that went away. At the second look their places are free: so pip, which hangs up and asks again at
once, keeps its own."""
_TRY_AGAIN_IN = 5.0
_BCRYPT_READS = 72
"""Bytes of a password that bcrypt looks at; the rest never counted, and newer releases of the library refuse to leave it out."""


class _Outcome(Enum):
    RIGHT = auto()
    WRONG = auto()
    REFUSED = auto()
    """There was no room, or no time, to check it."""
    OUTDATED = auto()
    """The account changed while it was checked."""


@dataclass(slots=True, eq=False)
class _Check(Entry):
    """A check that waits or is under way, for all requests with one password; `present` tells of each whether its client still waits."""

    digest: bytes = field(default=b"", repr=False)
    name: str = field(default="", repr=False)
    password: bytes = field(default=b"", repr=False)
    renews: bool = False
    outcome: "asyncio.Future[_Outcome]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    present: list[Callable[[], bool]] = field(default_factory=list)
    unwanted_before: bool = False
    """True if nobody waited for it at the last look."""

    @property
    def wanted(self) -> bool:
        """True if anybody still waits for it."""
        return self.renews or any(each() for each in self.present)


@dataclass(slots=True)
class _Proven:
    """A password that was right for `user` as long as the account has the hash with the digest `hashed`; a yes until `until`."""

    user: str
    hashed: bytes
    until: float
    renewed_at: float


@dataclass(frozen=True, slots=True)
class Grant:
    """That somebody is known: until accounts have changed once more than `changes` times, and as long as `password` is proven, if any.

    It holds the digest of the password that was shown.
    """

    changes: int
    password: bytes | None = field(default=None, repr=False)


class Doorkeeper:
    """Knows the `accounts`; `clock` tells seconds and does not go back.

    bcrypt takes a good part of a second for a password, so as many `threads` as there are cores check them, in the order of the queue,
    and what they found is remembered: a yes for five minutes, a no for ten seconds. A yes that is in use is renewed before it ends.
    Which passwords were right stays known for longer than the yes: these are checked before all others.
    """

    def __init__(self, accounts: Accounts, *, clock: Callable[[], float] = time.monotonic, threads: int | None = None) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, _Proven] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        self._checks: dict[bytes, _Check] = {}
        self._queue = SignInQueue()
        self._under_way = 0
        self._threads = threads or usable_cores()
        self._pool = ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="mirrormend-passwords")
        self._next_look: asyncio.TimerHandle | None = None
        self.changes = 0
        """How often `change` was called."""
        self.change(accounts)

    def change(self, accounts: Accounts) -> None:
        """Know these from now on, and forget what was decided of users whose hash is not the same as before."""
        self.changes += 1
        self._accounts = accounts
        self._tokens = [self._digest(each) for each in accounts.token_digests]
        self._wrong.clear()
        for digest, proven in list(self._remembered.items()):
            if proven.hashed != self._digest_of_hash(proven.user):
                del self._remembered[digest]
        for digest, check in list(self._checks.items()):
            if not check.waits:
                # It goes by what was known when it began; who asks from now on is checked by what is known now.
                del self._checks[digest]

    @property
    def accounts(self) -> Accounts:
        """The accounts that are known now."""
        return self._accounts

    def close(self) -> None:
        """End the threads."""
        self._threads = 0
        if self._next_look is not None:
            self._next_look.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def knows(self, authorization: str, client: str, present: Callable[[], bool] = lambda: True) -> bool:
        """Return whether the Authorization header, which came from the address `client`, is that of somebody who is let in.

        `present` tells whether the client still waits for its answer. Raise TooManySignIns if too many passwords wait to be checked.
        """
        shown = presented(authorization)
        if shown is None:
            return False
        if self._is_token(shown):
            return True
        if shown.user is None:
            return False
        password = shown.password.encode("utf-8", "surrogateescape")[:_BCRYPT_READS]
        digest = self._digest_of_password(shown.user, password)
        while self._accounts.hashes:
            decided = self._decided(digest, shown.user, password, client)
            if decided is not None:
                return decided
            outcome = await self._checked(digest, shown.user, password, client, present)
            if outcome is _Outcome.REFUSED:
                raise TooManySignIns(client, _TRY_AGAIN_IN)
            if outcome is not _Outcome.OUTDATED:
                return outcome is _Outcome.RIGHT
        return False

    def grant(self, authorization: str | None) -> Grant | None:
        """Return the grant that an Authorization header has by the accounts of this moment; None if it shows nothing that could be known.

        That of a password holds once it was found right. None in the place of a header is somebody who need not show any.
        """
        if authorization is None:
            return Grant(self.changes)
        shown = presented(authorization)
        if shown is None:
            return None
        if self._is_token(shown):
            return Grant(self.changes)
        if shown.user is None:
            return None
        password = shown.password.encode("utf-8", "surrogateescape")[:_BCRYPT_READS]
        return Grant(self.changes, self._digest_of_password(shown.user, password))

    def still_grants(self, grant: Grant) -> bool:
        """Return whether `grant` holds: accounts are the same, and the password, if any, is a yes that needs no renewal yet."""
        if grant.changes != self.changes:
            return False
        if grant.password is None:
            return True
        proven = self._remembered.get(grant.password)
        now = self._clock()
        return proven is not None and now < proven.until and now < proven.renewed_at

    def _is_token(self, shown: Presented) -> bool:
        found = False
        for token in shown.tokens:
            digest = self._digest(hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest())
            # All of them are looked at, whatever the first ones said, so that the time tells nothing.
            for known in self._tokens:
                found |= hmac.compare_digest(digest, known)
        return found

    def _decided(self, digest: bytes, user: str, password: bytes, client: str) -> bool | None:
        """Return what is remembered of a password; None if it has to be checked."""
        now = self._clock()
        proven = self._remembered.get(digest)
        if proven is not None and proven.until > now:
            if proven.renewed_at <= now and digest not in self._checks:
                self._join(self._check(digest, user, password, client, renews=True))
                self._begin_checks()
            return True
        return False if self._wrong.get(digest, now) > now else None

    async def _checked(self, digest: bytes, user: str, password: bytes, client: str, present: Callable[[], bool]) -> _Outcome:
        check = self._checks.get(digest)
        if check is None:
            check = self._check(digest, user, password, client)
            check.present.append(present)
            self._join(check)
            self._begin_checks()
        else:
            check.present.append(present)
        try:
            # Each request waits as long as all others do, also if it shares a check with one that came before it.
            await asyncio.wait((check.outcome,), timeout=_PATIENCE)
            if check.waits and not check.outcome.done():
                return _Outcome.REFUSED
            return await asyncio.shield(check.outcome)
        finally:
            check.present.remove(present)
            if not check.present and not check.renews:
                self._give_up(check)

    def _check(self, digest: bytes, user: str, password: bytes, client: str, *, renews: bool = False) -> _Check:
        check = _Check(client, user if user in self._accounts.hashes else None, proven=digest in self._remembered)
        check.digest, check.name, check.password, check.renews = digest, user, password, renews
        return check

    def _join(self, check: _Check) -> None:
        try:
            leaves = self._queue.join(check, self._clock())
        except QueueFull:
            self._settle(check, _Outcome.REFUSED)
            return
        self._checks[check.digest] = check
        self._look_again_for_gone()
        if isinstance(leaves, _Check):
            self._settle(leaves, _Outcome.REFUSED)

    def _give_up(self, check: _Check) -> None:
        if check.waits and not check.outcome.done():
            self._queue.leave(check)
            self._settle(check, _Outcome.REFUSED)

    def _look_again_for_gone(self) -> None:
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().call_later(_LOOK_FOR_GONE_EVERY, self._look_for_gone)

    def _look_for_gone(self) -> None:
        self._next_look = None
        for check in list(self._checks.values()):
            unwanted = not check.wanted
            if unwanted and check.unwanted_before:
                self._give_up(check)
            check.unwanted_before = unwanted
        if len(self._queue):
            self._look_again_for_gone()

    def _begin_checks(self) -> None:
        while self._under_way < self._threads:
            check = self._queue.begin(self._clock())
            if not isinstance(check, _Check):
                return
            if not check.wanted or not self._accounts.hashes:
                # All who waited for it have gone away, or there is no user left whom it could be right for.
                self._queue.end(check, self._clock(), wrong=False)
                self._settle(check, _Outcome.OUTDATED if check.wanted else _Outcome.REFUSED)
                continue
            self._under_way += 1
            hashed = self._accounts.hashes.get(check.name)
            against = self._accounts.dearest_hash if hashed is None else hashed
            running = asyncio.get_running_loop().run_in_executor(self._pool, bcrypt.checkpw, check.password, against)
            running.add_done_callback(partial(self._ended, check, hashed))

    def _ended(self, check: _Check, hashed: bytes | None, running: "asyncio.Future[bool]") -> None:
        self._under_way -= 1
        if running.cancelled():
            # The server ends.
            self._settle(check, _Outcome.REFUSED)
            return
        error = running.exception()
        if error is not None:
            _log.error("password-not-checked", why=type(error).__name__)
        # Somebody who is not known takes as long as somebody who is, and is never let in.
        fits = error is None and running.result() and hashed is not None
        now = self._clock()
        outdated = self._accounts.hashes.get(check.name) != hashed
        self._queue.end(check, now, wrong=not fits and not outdated)
        if outdated:
            self._settle(check, _Outcome.OUTDATED)
        else:
            self._remember(check, now, fits=fits)
            self._settle(check, _Outcome.RIGHT if fits else _Outcome.WRONG)
        self._begin_checks()

    def _remember(self, check: _Check, now: float, *, fits: bool) -> None:
        if fits:
            hashed = self._digest_of_hash(check.name)
            spread = _RENEWED_WITHIN * secrets.randbelow(256) / 256
            self._remembered[check.digest] = _Proven(check.name, hashed, now + _YES_FOR, now + _RENEWED_AFTER + spread)
            self._remembered.move_to_end(check.digest)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        else:
            self._wrong[check.digest] = now + _NO_FOR
            self._wrong.move_to_end(check.digest)
            if len(self._wrong) > _REMEMBERED:
                self._wrong.popitem(last=False)

    def _settle(self, check: _Check, outcome: _Outcome) -> None:
        if self._checks.get(check.digest) is check:
            del self._checks[check.digest]
        check.password = b""
        if not check.outcome.done():
            check.outcome.set_result(outcome)

    def _digest_of_password(self, user: str, password: bytes) -> bytes:
        return self._digest(b"\0".join((user.encode("utf-8", "surrogateescape"), password)))

    def _digest_of_hash(self, user: str) -> bytes:
        return self._digest(self._accounts.hashes.get(user, b""))

    def _digest(self, text: bytes) -> bytes:
        return hashlib.blake2b(text, digest_size=32, key=self._secret).digest()
