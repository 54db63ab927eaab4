"""The cache of answers: what it keeps never grows older."""

import pytest

from tidemill.gateway.queries.cache import Cache
from tidemill.gateway.queries.metrics import Metrics

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_a_late_answer_does_not_bring_back_an_older_position(valkey_of_session: str) -> None:
    cache = Cache(valkey_of_session, Metrics())
    try:
        for root, body in ((300, b"first"), (2**40, b"newer"), (301, b"late"), (2**40, b"same")):
            await cache.put("a question", root, body, 60)
            kept = await cache.get("a question", root)
            assert kept == (b"newer" if body == b"late" else body)
        assert await cache.get("a question", 2**40 + 1) is None
    finally:
        await cache.close()
