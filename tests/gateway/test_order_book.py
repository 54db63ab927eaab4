"""The book at any record of the past is the one that an oracle of LOG's rules has there."""

from decimal import Decimal
from typing import Any

import pytest

from tidemill.deploy.replaying import step
from tidemill.deploy.tables import fill
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.flow.logs import append
from tidemill.tests.gateway.asking import Client, client_of
from tidemill.tests.gateway.books_told import EXPONENTS, Stood, story
from tidemill.tests.projections.stores import stores_on
from tidemill.tests.servers import clickhouse_server, postgres_server

pytestmark = pytest.mark.integration
PLACES = 120


def in_steps(found: dict[str, Any]) -> Stood:
    """An answer's book, in the steps of the oracle."""

    def side(name: str) -> list[tuple[int, int]]:
        return [
            (int(Decimal(price).scaleb(-EXPONENTS[0])), int(Decimal(size).scaleb(-EXPONENTS[1])))
            for price, size in found[name]
        ]

    valid = found["state"] == "VALID"
    return Stood(found["state"], side("bids"), side("asks"), found["lastUpdateId"] if valid else 0)


def best(stood: Stood, limit: int) -> Stood:
    return stood._replace(bids=stood.bids[:limit], asks=stood.asks[:limit])


async def test_the_book_after_any_record_is_what_log_says(tmp_path: Any) -> None:
    (told,) = story(seed=3, depth=80, steps=1_000, look=0.02)
    log, out = MemoryLog("LOG", LOG_SUBJECTS), MemoryLog("OUT", OUT_SUBJECTS)
    await append(log, told.facts)
    await step(log, out)
    async with (
        clickhouse_server(tmp_path) as clickhouse,
        postgres_server(tmp_path) as postgres,
        stores_on(clickhouse, postgres) as stores,
    ):
        await fill(stores.pool, stores.clickhouse, log, out)
        async with client_of(stores) as client:
            first = next(place for place, stood in told.stood.items() if stood is None)
            places = [first, *told.random.sample(sorted(told.stood), PLACES)]
            states = {await same(client, told.stood, r, i) for r, i in places}
            assert states == {None, "VALID", "INVALID"}
            now = await client.data("orderbook/BTC-USDT")
            assert told.oracle.stood is not None
            assert in_steps(now) == best(told.oracle.stood, 20)
            for r in told.random.sample(sorted({r for r, _ in told.stood}), 20):
                last = max(i for root, i in told.stood if root == r)
                stood = told.stood[r, last]
                if stood is not None:
                    whole = await client.data("orderbook/BTCUSDT", as_of=str(r), limit=5)
                    assert in_steps(whole) == best(stood, 5), r


async def same(client: Client, stood: dict[tuple[int, int], Any], r: int, i: int) -> str | None:
    """Hold an answer to the oracle, and return the state that both have."""
    meant, asked = stood[r, i], {"as_of": str(r), "i": i, "limit": 100}
    if meant is None:
        assert await client.error("orderbook/BTCUSDT", **asked) == (404, "NO_DATA")
        return None
    found = await client.data("orderbook/BTCUSDT", **asked)
    assert in_steps(found) == best(meant, 100), (r, i)
    assert (found["flags"] == []) == (meant.state == "VALID")
    state: str = meant.state
    return state
