"""Redis as a backend of the store, through aiocache: what a team's replicas share.

Importing this module needs the `redis` extra.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiocache import RedisCache
from aiocache.serializers import NullSerializer
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from proxy.store.backend import BackendAway, BackendRefused
from proxy.store.pending import Change

_NAMESPACE = "mirrormend"
_IDENTITY = "identity"
"""A key that is lost with all others: whoever finds it missing knows that Redis was emptied, or that this is another one."""
_WRITES = "writes"
"""A key that counts what is written: whoever finds it lower than before knows that this is an earlier state of Redis."""

_CONNECTIONS = 64
_CONNECT_WITHIN = 1.0
_ANSWER_WITHIN = 5.0

_AGREES = 0.5
"""Seconds by which the clock of Redis may differ from ours, beside the time that asking takes, before ours is corrected by it."""

_WITHOUT_END = -1
_LONGEST = 10 * 365 * 86400.0
_IDENTIFY_AGAIN = 30.0
"""Seconds after which a Redis that takes no identity is given one again."""

_RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2])"


class RedisBackend:
    """The store's documents in the Redis at `url` (redis:// or rediss://, with what redis-py allows as its query).

    Raises ValueError where the address cannot be understood.
    """

    trust = 5.0
    shared = True
    patience = 0.5
    connect_within = 1.5
    read_within = 3.0
    write_within = 5.0

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        options: dict[str, Any] = {
            "timeout": _CONNECT_WITHIN,
            "socket_timeout": _ANSWER_WITHIN,
            # A connection that went stale in the pool is replaced at once; all other patience is the circuit's.
            "retry": Retry(NoBackoff(), 1),
            "protocol": 2,
            **parse_url(url),
        }
        host, port = options.pop("host", "localhost"), options.pop("port", 6379)
        self.name = f"redis://{host}:{port}"
        self._token = ""
        self._rollbacks = 0
        self._writes = 0
        self._identify_next = 0.0
        self.clock_offset = 0.0
        self._clock = clock
        self._cache = RedisCache(
            serializer=NullSerializer(encoding=None),
            namespace=_NAMESPACE,
            timeout=None,  # the store bounds each call as a whole
            endpoint=host,
            port=port,
            db=options.pop("db", 0),
            password=options.pop("password", None),
            pool_max_size=options.pop("max_connections", _CONNECTIONS),
            create_connection_timeout=options.pop("socket_connect_timeout", _CONNECT_WITHIN),
            connection_pool_class=BlockingConnectionPool,
            connection_pool_kwargs=options,
        )

    @property
    def identity(self) -> str:
        """The name of what Redis holds: another one after it was emptied, replaced, or went back to an earlier state."""
        return f"{self._token}-{self._rollbacks}" if self._token else ""

    async def connect(self) -> None:
        """Find whether it answers, which one it is, and what time it is there."""
        asked = self._clock()
        _, (told,) = await self._look([], lambda pipeline: pipeline.time())
        answered = self._clock()
        # If TIME is not allowed, the own clock counts.
        if isinstance(told, tuple):
            offset = int(told[0]) + int(told[1]) / 1e6 - (asked + answered) / 2
            if abs(offset - self.clock_offset) > _AGREES + abs(answered - asked):
                self.clock_offset = offset if abs(offset) > _AGREES else 0.0

    async def close(self) -> None:
        """Close the connections."""
        # Not the cache's own close(): it calls what redis-py has deprecated.
        await self._cache.client.connection_pool.disconnect()

    async def read(self, slots: Sequence[str]) -> list[bytes | None]:
        """Return the sealed documents in `slots`, in one round trip; a key of another type holds none."""
        contents, _ = await self._look(slots)
        return contents

    async def write(self, changes: Sequence[Change]) -> None:
        """Write `changes` in one round trip; each is a command of its own, so none is ever half-written."""
        now = self._clock() + self.clock_offset

        def commands(pipeline: Any) -> None:
            for change in changes:
                left = min(change.expires - now, _LONGEST)
                if change.sealed is None or left <= 0:
                    pipeline.delete(self._key(change.slot))
                else:
                    pipeline.set(self._key(change.slot), change.sealed, px=max(1, int(left * 1000)))
            pipeline.incr(self._key(_WRITES))

        _, (*results, _) = await self._look([], commands)
        refused = {change.slot: result for change, result in zip(changes, results, strict=True) if isinstance(result, ResponseError)}
        if refused:
            # A full Redis still deletes; one that is read-only does not.
            await self._together(lambda pipeline: [pipeline.delete(self._key(slot)) for slot in refused])
            raise BackendRefused(str(next(iter(refused.values()))), refused)

    async def lock(self, name: str, token: str, seconds: float, slots: Sequence[str] = ()) -> list[bytes | None] | None:
        """Take the lock `name` for at most `seconds`, and read `slots` with it, in one round trip."""
        key, milliseconds = self._key(f"lease/{name}"), max(1, int(seconds * 1000))

        def commands(pipeline: Any) -> None:
            pipeline.set(key, token, nx=True, px=milliseconds)
            pipeline.pttl(key)

        contents, (taken, left) = await self._look(slots, commands)
        if not taken and left == _WITHOUT_END:
            # Every lease ends: a key in its place that does not is none, and is replaced.
            (taken,) = await self._together(lambda pipeline: pipeline.set(key, token, px=milliseconds))
        if isinstance(taken, ResponseError):
            raise BackendRefused(str(taken)) from taken
        return contents if taken else None

    async def renew(self, name: str, token: str, seconds: float) -> None:
        """Hold the lock `name` for `seconds` from now on, if the token still holds it."""
        await self._run(_RENEW, name, token, max(1, int(seconds * 1000)))

    async def unlock(self, name: str, token: str) -> None:
        """Let go of the lock, if the token still holds it: another may have it by now."""
        await self._run(RedisCache.RELEASE_SCRIPT, name, token)

    async def _run(self, script: str, name: str, *arguments: str | int) -> None:
        try:
            await self._cache.raw("eval", script, 1, self._key(f"lease/{name}"), *arguments)
        except ResponseError as error:
            raise BackendRefused(str(error)) from error
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error

    async def _look(self, slots: Sequence[str], commands: Callable[[Any], object] | None = None) -> tuple[list[bytes | None], list[Any]]:
        """Return what is in `slots`, and the answers to the `commands` that go before; see besides which Redis this is."""
        count, writes = len(slots) + 2, self._writes

        def all_commands(pipeline: Any) -> None:
            if commands is not None:
                commands(pipeline)
            for key in (*slots, _WRITES, _IDENTITY):
                pipeline.get(self._key(key))

        answers = await self._together(all_commands)
        *contents, written, identity = (_content(answer) for answer in answers[-count:])
        if written is not None and written.isdigit():
            # Answers to what was asked before may come later, and tell of earlier.
            self._rollbacks += int(written) < writes
            self._writes = int(written) if int(written) < writes else max(self._writes, int(written))
        await self._identify(identity)
        return contents, answers[:-count]

    async def _identify(self, identity: bytes | None) -> None:
        """Note which Redis this is by the key that it has for that; give it one if it has none and takes it."""
        if identity is None and time.monotonic() >= self._identify_next:
            key, token = self._key(_IDENTITY), secrets.token_hex(16)
            # Another replica may be as quick; and a key of another type is in nobody's way.
            taken, identity = await self._together(lambda pipeline: pipeline.set(key, token, nx=True).get(key))
            if isinstance(identity, ResponseError) and not isinstance(taken, ResponseError):
                (taken,) = await self._together(lambda pipeline: pipeline.set(key, token))
                identity = token.encode() if taken is True else None
            if not isinstance(identity, bytes):
                self._identify_next = time.monotonic() + _IDENTIFY_AGAIN
        if isinstance(identity, bytes):
            self._token = identity.decode("ascii", "backslashreplace")

    async def _together(self, commands: Callable[[Any], object]) -> list[Any]:
        """Return the answers to several commands that are sent at once; one that was refused is a ResponseError in its place."""
        try:
            async with self._cache.client.pipeline(transaction=False) as pipeline:
                commands(pipeline)
                answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
                raise BackendAway(str(answer)) from answer
        return answers

    def _key(self, key: str) -> str:
        built: str = self._cache.build_key(key, namespace=_NAMESPACE)
        return built


def _content(answer: object) -> bytes | None:
    """Return what a GET found; a key of another type holds nothing."""
    if isinstance(answer, ResponseError) and not str(answer).startswith("WRONGTYPE"):
        raise BackendAway(str(answer)) from answer
    return answer if isinstance(answer, bytes) else None
