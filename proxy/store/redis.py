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

_CONNECTIONS = 64
_CONNECT_WITHIN = 1.0
_ANSWER_WITHIN = 5.0

_AGREES = 0.5
"""Seconds by which the clock of Redis may differ from ours, beside the time that asking takes, before ours is corrected by it."""

_LOCK = """
local taken = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
if not taken and redis.call('PTTL', KEYS[1]) == -1 then
    taken = redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if not taken then
    return false
end
return #KEYS > 1 and redis.call('MGET', unpack(KEYS, 2)) or {}
"""
"""Takes a lease, and reads what its holder needs. Every lease ends: a key in its place that does not is none, and is replaced."""

_RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2])"
_CLAIM = "if redis.call('TYPE', KEYS[1]).ok ~= 'string' then redis.call('SET', KEYS[1], ARGV[1]) end"
"""Gives Redis an identity if it has none."""


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
        self.identity = ""
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

    async def connect(self) -> None:
        """Find whether it answers, which one it is, and what time it is there."""
        try:
            asked = self._clock()
            (seconds, microseconds), (identity,) = await self._together(lambda pipeline: pipeline.time().mget(self._key(_IDENTITY)))
            answered = self._clock()
            await self._identify(identity)
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        offset = int(seconds) + int(microseconds) / 1e6 - (asked + answered) / 2
        if abs(offset - self.clock_offset) > _AGREES + abs(answered - asked):
            self.clock_offset = offset if abs(offset) > _AGREES else 0.0

    async def close(self) -> None:
        """Close the connections."""
        # Not the cache's own close(): it calls what redis-py has deprecated.
        await self._cache.client.connection_pool.disconnect()

    async def read(self, slots: Sequence[str]) -> list[bytes | None]:
        """Return the sealed documents in `slots` (MGET); a key of another type holds none."""
        try:
            contents: list[bytes | None]
            *contents, identity = await self._cache.multi_get([*slots, _IDENTITY])
            await self._identify(identity)
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        return contents

    async def write(self, changes: Sequence[Change]) -> None:
        """Write `changes` in one round trip; each is a command of its own, so none is ever half-written."""
        now = self._clock() + self.clock_offset

        def commands(pipeline: Any) -> None:
            for change in changes:
                left = change.expires - now
                if change.sealed is None or left <= 0:
                    pipeline.delete(self._key(change.slot))
                else:
                    pipeline.set(self._key(change.slot), change.sealed, px=max(1, int(left * 1000)))
            pipeline.mget(self._key(_IDENTITY))

        try:
            *results, identity = await self._together(commands, raise_on_error=False)
            refused = {change.slot: result for change, result in zip(changes, results, strict=True) if isinstance(result, ResponseError)}
            failure = next((result for result in results if isinstance(result, Exception) and not isinstance(result, ResponseError)), None)
            if failure is not None:
                raise failure
            if refused:
                # A full Redis still deletes; one that is read-only does not.
                await self._together(lambda pipeline: pipeline.delete(*(self._key(slot) for slot in refused)), raise_on_error=False)
            elif not isinstance(identity, Exception):
                await self._identify(identity[0])
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        if refused:
            raise BackendRefused(str(next(iter(refused.values()))), refused)

    async def lock(self, name: str, token: str, seconds: float, slots: Sequence[str] = ()) -> list[bytes | None] | None:
        """Take the lock `name` for at most `seconds`, and read `slots` with it, in one round trip."""
        found = await self._run(_LOCK, [f"lease/{name}", *slots, _IDENTITY], token, max(1, int(seconds * 1000)))
        if found is None:
            return None
        contents: list[bytes | None]
        *contents, identity = found
        try:
            await self._identify(identity)
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        return contents

    async def renew(self, name: str, token: str, seconds: float) -> None:
        """Hold the lock `name` for `seconds` from now on, if the token still holds it."""
        await self._run(_RENEW, [f"lease/{name}"], token, max(1, int(seconds * 1000)))

    async def unlock(self, name: str, token: str) -> None:
        """Let go of the lock, if the token still holds it: another may have it by now."""
        await self._run(RedisCache.RELEASE_SCRIPT, [f"lease/{name}"], token)

    async def _run(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        """Return what a script that writes returns."""
        try:
            return await self._cache.raw("eval", script, len(keys), *(self._key(key) for key in keys), *arguments)
        except ResponseError as error:
            raise BackendRefused(str(error)) from error
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error

    async def _identify(self, identity: bytes | None) -> None:
        """Note which Redis this is by the key that it has for that; give it one if it has none and takes it."""
        if identity is None:
            key, token = self._key(_IDENTITY), secrets.token_hex(16)
            # Another replica may be as quick; and a key of another type is in nobody's way.
            _, identity = await self._together(lambda pipeline: pipeline.eval(_CLAIM, 1, key, token).mget(key), raise_on_error=False)
            identity = identity[0] if isinstance(identity, list) else None
        if identity is not None:
            self.identity = identity.decode("ascii", "backslashreplace")

    async def _together(self, commands: Callable[[Any], object], *, raise_on_error: bool = True) -> list[Any]:
        """Return the answers to several commands that are sent at once."""
        async with self._cache.client.pipeline(transaction=False) as pipeline:
            commands(pipeline)
            answers: list[Any] = await pipeline.execute(raise_on_error=raise_on_error)
        return answers

    def _key(self, key: str) -> str:
        built: str = self._cache.build_key(key, namespace=_NAMESPACE)
        return built
