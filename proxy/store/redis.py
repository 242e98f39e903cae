"""Redis as a backend of the store, through aiocache: what a team's replicas share.

Importing this module needs the `redis` extra.
"""

import asyncio
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
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from proxy.store.backend import BackendAway, BackendRefused
from proxy.store.pending import Change

_NAMESPACE = "mirrormend"
_CONNECTIONS = 64
_CONNECT_WITHIN = 1.0
_ANSWER_WITHIN = 5.0


class RedisBackend:
    """The store's documents in the Redis at `url` (redis:// or rediss://, with what redis-py allows as its query).

    Raises ValueError where the address cannot be understood.
    """

    trust = 5.0
    shared = True
    connect_within = 1.5
    read_within = 1.0
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
        """Asks whether it answers."""
        try:
            await self._cache.raw("ping")
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error

    async def close(self) -> None:
        """Closes the connections."""
        # Not the cache's own close(): it calls what redis-py has deprecated.
        await self._cache.client.connection_pool.disconnect()

    async def read(self, slot: str) -> bytes | None:
        """Gives the sealed document in `slot`."""
        try:
            content: bytes | None = await self._cache.get(slot)
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        return content

    async def write(self, changes: Sequence[Change]) -> None:
        """Writes `changes` side by side; each is a command of its own, so none is ever half-written."""
        results = await asyncio.gather(*(self._write(change) for change in changes), return_exceptions=True)
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure
        refusals = [why for why in results if isinstance(why, str)]
        if refusals:
            raise BackendRefused(refusals[0], len(refusals))

    async def lock(self, name: str, seconds: float) -> str | None:
        """Takes the lock `name` for at most `seconds` (SET with NX and PX)."""
        token = secrets.token_hex(16)
        try:
            await self._cache.add(f"lease/{name}", token, ttl=max(float(seconds), 0.001))
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
        except ValueError:
            return None
        return token

    async def unlock(self, name: str, token: str) -> None:
        """Lets go of the lock, if the token still holds it: another may have it by now."""
        key = self._cache.build_key(f"lease/{name}", namespace=_NAMESPACE)
        try:
            await self._cache.raw("eval", RedisCache.RELEASE_SCRIPT, 1, key, token)
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error

    async def _write(self, change: Change) -> str | None:
        """Writes one change and gives why Redis refused to, None where it did not."""
        left = change.expires - self._clock()
        try:
            if change.sealed is None or left <= 0:
                await self._cache.delete(change.slot)
            else:
                await self._cache.set(change.slot, change.sealed, ttl=max(left, 0.001))
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise BackendAway(str(error)) from error
        except RedisError as error:
            await self._forget_outdated(change.slot)
            return str(error)
        return None

    async def _forget_outdated(self, slot: str) -> None:
        # A full Redis still deletes; one that is read-only does not.
        try:
            await self._cache.delete(slot)
        except ResponseError:
            return
        except (RedisError, OSError) as error:
            raise BackendAway(str(error)) from error
