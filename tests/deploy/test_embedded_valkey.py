"""The embedded Valkey: a cache with a password that keeps nothing."""

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from tidemill.tests.servers import RunningValkey

pytestmark = pytest.mark.integration


async def test_it_answers_only_with_the_password_and_only_on_loopback(
    valkey: RunningValkey,
) -> None:
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        assert (await client.info("server"))["process_id"] == valkey.pid
        assert await client.config_get("bind") == {"bind": "127.0.0.1"}
    stranger = redis.asyncio.Redis(port=valkey.server.port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(AuthenticationError):
        await stranger.ping()
    await stranger.aclose()


async def test_it_is_bounded_and_forgets(valkey: RunningValkey) -> None:
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        assert (await client.config_get("maxmemory"))["maxmemory"] == str(256 * 1024 * 1024)
        await client.set("answer", "42")
    valkey.kill()
    await valkey.restart()
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        assert await client.get("answer") is None
