"""The captures that acceptance tests play: Binance's, where they are, and the exchange's always."""

from typing import Any, NamedTuple

import pytest

from tidemill.deploy.replaying import step
from tidemill.streams.memory import MemoryLog
from tidemill.tests.flow import simulated
from tidemill.tests.flow.logs import filled, out_in_memory
from tidemill.tests.flow.outcomes import outcome
from tidemill.tests.flow.sources import REAL, Source, source


@pytest.fixture(scope="session")
def real() -> Source:
    """Binance spot BTCUSDT around a UTC midnight, 99,574 messages."""
    if not all(path.exists() for path in REAL):
        pytest.skip(f"{REAL[0]} and its second half are not there: set TIDEMILL_DATA")
    return source("real", {"BINANCE": REAL}, exact=True)


@pytest.fixture(scope="session")
def exchanged(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Three symbols of two simulated venues around a UTC midnight, with faults."""
    directory = tmp_path_factory.mktemp("captures")
    files = {venue: (simulated.write(directory, venue),) for venue in simulated.SHARE}
    return source("simulated", files, exact=False)


@pytest.fixture(scope="session", params=["real", "exchanged"])
def played(request: pytest.FixtureRequest) -> Source:
    """One of both."""
    found: Source = request.getfixturevalue(request.param)
    return found


class Replayed(NamedTuple):
    """A source in memory, stepped by one calm shard: what every other replay must equal."""

    log: MemoryLog
    out: MemoryLog
    outcome: dict[str, Any]


_REPLAYED: dict[str, Replayed] = {}


@pytest.fixture
async def replayed(played: Source) -> Replayed:
    """The calm replay of `played`, made once."""
    if played.name not in _REPLAYED:
        log, out = await filled(played), out_in_memory()
        await step(log, out)
        _REPLAYED[played.name] = Replayed(log, out, await outcome(log, out))
    return _REPLAYED[played.name]
