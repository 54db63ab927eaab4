"""Fixtures every test may ask for: real servers of its own, gone when it ends."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidemill.tests.servers import RunningNats, nats_server


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[RunningNats]:
    """A nats-server of this test's own: `url`, `urls[role]`, `name`, `kill()`, `restart()`."""
    async with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def nats_url(nats: RunningNats) -> str:
    """Where to connect to this test's own nats-server, as admin."""
    return nats.url
