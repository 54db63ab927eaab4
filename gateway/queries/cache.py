"""Answers kept in Valkey for a moment, each with its position; without Valkey nothing is kept.

A kept answer serves a question with min_seq only where it reaches it. After a failure the cache is
left alone for a second, so that questions do not wait for a server that is away.
"""

import struct
import time
from typing import Literal

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tidemill.gateway.queries.metrics import Metrics
from tidemill.schemas.errors import Unavailable

PREFIX = "tidemill:q1:"
TIMEOUT_S = 0.25
AWAY_S = 1.0
_ROOT = struct.Struct("<Q")
_PUT = """
local kept = redis.call('GET', KEYS[1])
if not kept or struct.unpack('<I8', kept) <= struct.unpack('<I8', ARGV[1]) then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
"""


class Cache:
    """Bytes by key, with the root that they are of. An empty `url` keeps nothing."""

    def __init__(self, url: str, metrics: Metrics) -> None:
        self._metrics, self._away_until = metrics, 0.0
        self._client: redis.asyncio.Redis | None = None
        if url:
            self._client = redis.asyncio.Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
                max_connections=64,
            )

    async def get(self, key: str, min_root: int) -> bytes | None:
        """Return what is kept under `key`, None where that is nothing or older than `min_root`."""
        client = self._usable()
        if client is None:
            return None
        try:
            kept = await client.get(PREFIX + key)
        except (RedisError, OSError):
            self._failed()
            return None
        if not isinstance(kept, bytes) or _ROOT.unpack_from(kept)[0] < min_root:
            self._count("miss")
            return None
        self._count("hit")
        return kept[_ROOT.size :]

    async def put(self, key: str, root: int, body: bytes, ttl_s: float) -> None:
        """Keep `body`, which is of `root`, for `ttl_s`, unless what is kept is of a later one.

        A question that took long must not bring back what had been answered before.
        """
        client = self._usable()
        if client is None:
            return
        try:
            value, ttl_ms = _ROOT.pack(root) + body, int(ttl_s * 1_000)
            await client.eval(_PUT, 1, PREFIX + key, value, ttl_ms)
        except (RedisError, OSError):
            self._failed()

    async def probe(self) -> None:
        """Ask whether it answers. Raises Unavailable."""
        if self._client is None:
            raise Unavailable("Valkey: not configured")
        try:
            await self._client.ping()
        except (RedisError, OSError) as error:
            raise Unavailable(f"Valkey: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _usable(self) -> redis.asyncio.Redis | None:
        return self._client if time.monotonic() >= self._away_until else None

    def _failed(self) -> None:
        self._away_until = time.monotonic() + AWAY_S
        self._count("error")

    def _count(self, outcome: Literal["hit", "miss", "error"]) -> None:
        self._metrics.cache.labels(outcome).inc()
