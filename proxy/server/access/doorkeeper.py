"""Deciding whether a client is known, without letting anybody learn how near a guess was, and without holding up the event loop.

Nothing here remembers what a client sent: what was decided is kept under digests whose key nobody else has.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from proxy.core.errors import TooManyRequests
from proxy.server.access.accounts import Accounts
from proxy.server.access.presented import Presented, presented

_YES_FOR = 300.0
_NO_FOR = 10.0
_REMEMBERED = 4096
_CHECKS = 32
_CHECKS_OF_ONE = 4
_CHECK_TAKES = 2.0
_BCRYPT_READS = 72
"""Bytes of a password that bcrypt looks at; the rest never counted, and newer releases of the library refuse to leave it out."""


class Doorkeeper:
    """Knows the `accounts`; `clock` tells seconds and does not go back.

    A password takes bcrypt a good part of a second, so one thread checks them, in their order, and what it found is remembered: a yes
    for five minutes, a no for ten seconds. Only so many may wait, and of one client fewer, so that guessing shuts nobody else out.
    """

    def __init__(self, accounts: Accounts, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._checks: dict[bytes, asyncio.Task[bool]] = {}
        self._checks_of: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mirrormend-passwords")
        self.change(accounts)

    def change(self, accounts: Accounts) -> None:
        """Knows these from now on, and forgets what was decided before."""
        self._accounts = accounts
        self._tokens = [self._digest(token) for token in accounts.tokens]
        self._remembered.clear()
        self._checks.clear()

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def knows(self, authorization: str, client: str) -> bool:
        """Whether the Authorization header, which came from the address `client`, is that of somebody who is let in.

        Raises TooManyRequests where too many passwords wait to be checked.
        """
        shown = presented(authorization)
        if shown is None:
            return False
        if self._is_token(shown):
            return True
        if shown.user is None or not self._accounts.hashes:
            return False
        digest = self._digest(authorization)
        decided = self._remembered.get(digest)
        if decided is not None and decided[1] > self._clock():
            return decided[0]
        check = self._checks.get(digest)
        if check is None:
            if len(self._checks) >= _CHECKS or self._checks_of[client] >= _CHECKS_OF_ONE:
                raise TooManyRequests(client, _CHECK_TAKES)
            self._checks_of[client] += 1
            check = self._checks[digest] = asyncio.create_task(self._check(digest, shown.user, shown.password, client))
        return await asyncio.shield(check)

    def _is_token(self, shown: Presented) -> bool:
        found = False
        for token in shown.tokens:
            digest = self._digest(token)
            # All of them are looked at, whatever the first ones said, so that the time tells nothing.
            for known in self._tokens:
                found |= hmac.compare_digest(digest, known)
        return found

    async def _check(self, digest: bytes, user: str, password: str, client: str) -> bool:
        accounts = self._accounts
        try:
            known = await asyncio.get_running_loop().run_in_executor(self._thread, _fits, accounts, user, password)
        finally:
            if self._checks.get(digest) is asyncio.current_task():
                del self._checks[digest]
            self._checks_of[client] -= 1
            if not self._checks_of[client]:
                del self._checks_of[client]
        if accounts is self._accounts:
            self._remembered[digest] = known, self._clock() + (_YES_FOR if known else _NO_FOR)
            self._remembered.move_to_end(digest)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return known

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=32, key=self._secret).digest()


def _fits(accounts: Accounts, user: str, password: str) -> bool:
    hashed = accounts.hashes.get(user)
    # Somebody who is not known takes as long as somebody who is.
    against = next(iter(accounts.hashes.values())) if hashed is None else hashed
    fits = bcrypt.checkpw(password.encode("utf-8", "surrogateescape")[:_BCRYPT_READS], against)
    return fits and hashed is not None
