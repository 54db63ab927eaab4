"""Positions: as_of asks the past, min_seq waits, and a reader never sees half of an insert."""

import asyncio
import time
from dataclasses import replace

import pytest

from tidemill.projections.registry import TABLES
from tidemill.projections.versions import begin, enter, swap
from tidemill.tests.gateway.asking import Client, client_of
from tidemill.tests.gateway.market import END, at, reach
from tidemill.tests.projections.stores import Stores

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_the_past_is_the_same_question_with_a_smaller_position(client: Client) -> None:
    found = await client.data("trades/BTCUSDT", as_of="11")
    assert [trade["r"] for trade in found["trades"]] == [11, 10]
    told = await client.as_of("trades/BTCUSDT", as_of="11")
    assert (told["r"], told["time"]) == (11, at(2) + 5_000_000)


async def test_nothing_was_known_at_the_beginning(client: Client) -> None:
    assert await client.error("trades/BTCUSDT", as_of="0") == (404, "SYMBOL_NOT_FOUND")
    assert await client.error("quote/BTCUSDT", as_of="19") == (404, "QUOTE_NOT_FOUND")
    told = await client.as_of("trades/BTCUSDT", as_of="5")
    assert (told["time"], told["time_iso"]) == (None, None)


@pytest.mark.parametrize(
    ("moment", "root"),
    [
        ("2024-08-08T11:59:59.999999999Z", 0),
        ("2024-08-08T12:00:00Z", 5),
        (str(at(10)), 15),
        ("2024-08-08T12:00:59.999999999", 25),
        ("2024-08-08T14:01:00+02:00", 65),
        (str(at(75)), 90),
        ("2030-01-01", 90),  # what follows is not complete
    ],
)
async def test_a_time_is_the_newest_position_at_which_the_log_had_a_time_up_to_then(
    client: Client, moment: str, root: int
) -> None:
    assert (await client.as_of("symbols", as_of=moment))["r"] == root


async def test_a_later_as_of_answers_as_of_now_would_have_then(client: Client) -> None:
    now = await client.get("candles/BTCUSDT")
    then = await client.get("candles/BTCUSDT", as_of=str(END))
    assert now.json()["data"] == then.json()["data"]
    assert now.json()["meta"] == then.json()["meta"]


async def test_min_seq_that_is_reached_answers_at_once(client: Client) -> None:
    assert (await client.as_of("trades/BTCUSDT", min_seq=END))["r"] == END


@pytest.mark.parametrize("asked", [{"min_seq": END + 1}, {"as_of": str(END + 1)}])
async def test_a_position_that_is_not_reached_in_time_is_503_with_a_code(
    client: Client, asked: dict[str, str]
) -> None:
    began = time.monotonic()
    answer = await client.get("candles/BTCUSDT", **asked)
    assert 0.4 < time.monotonic() - began < 15
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "TIMEOUT")
    assert answer.headers["retry-after"] == "1"
    assert "bars" in answer.json()["error"]["message"]


async def test_min_seq_waits_for_every_table_of_the_question(market: Stores) -> None:
    async with client_of(market, min_seq_timeout_s=20) as client:
        try:
            await reach(market, "bars", END + 3)
            asking = asyncio.create_task(client.as_of("candles/BTCUSDT", min_seq=END + 2))
            await asyncio.sleep(0.3)
            assert not asking.done()
            await reach(market, "instruments", END + 2)
            assert (await asking)["r"] == END + 2
        finally:
            await reach(market, "bars", END)
            await reach(market, "instruments", END)


async def test_a_table_that_is_being_built_is_said_to_be_missing(market: Stores) -> None:
    await enter(market.pool, [TABLES["prices"]], "building")
    try:
        async with client_of(market) as client:
            answer = await client.get("aggregated/BTCUSDT")
            assert (answer.status_code, answer.json()["error"]) == (
                503,
                {"code": "SERVICE_UNAVAILABLE", "message": "not built yet: prices"},
            )
            assert (await client.get("quote/BTCUSDT")).status_code == 200
    finally:
        await enter(market.pool, [TABLES["prices"]], "serving")


async def test_the_active_version_answers_and_is_told(market: Stores) -> None:
    one, two = TABLES["trades"], await begin(market.pool, replace(TABLES["trades"], version=2))
    await market.clickhouse.command("CREATE TABLE trades__v2 AS trades__v1")
    await market.clickhouse.command(
        "INSERT INTO trades__v2 SELECT * REPLACE(7 AS trade_id) FROM trades__v1 WHERE _r = 10"
    )
    insert = (
        "INSERT INTO sink SELECT 'trades__v2', log_uuid, epoch, position, floor, mark_root,"
        " mark_sequence, roots_max, rows_max FROM sink WHERE t = 'trades__v1'"
    )
    await market.pool.execute(insert)
    await swap(market.pool, [two], ["building"])
    try:
        async with client_of(market) as client:
            assert [t["id"] for t in (await client.data("trades/BTCUSDT"))["trades"]] == [7]
            assert (await client.as_of("trades/BTCUSDT"))["version"] == 2
    finally:
        await swap(market.pool, [one])
        await market.pool.execute("DELETE FROM sink WHERE t = 'trades__v2'")
        await market.clickhouse.command("DROP TABLE trades__v2 SYNC")


async def test_the_newest_rows_are_found_however_far_back_they_are(market: Stores) -> None:
    """It looks near the end first, then further back, then everywhere."""
    far = 10_000_000
    tables = ("trades", "quotes", "instruments", "feed_events")
    insert = (
        "INSERT INTO trades__v1 SELECT * REPLACE(toUInt64({r:UInt64}) AS _r) FROM trades__v1"
        " WHERE symbol = 'ETHUSDT' LIMIT 1"
    )
    for r in (far - 1, far - 1_000_000):
        await market.clickhouse.command(insert, {"r": r})
    for name in tables:
        await reach(market, name, far)
    try:
        async with client_of(market) as client:
            for limit, expected in (
                (1, [far - 1]),
                (2, [far - 1, far - 1_000_000]),
                (3, [far - 1, far - 1_000_000, 13]),
            ):
                found = await client.data("trades/ETHUSDT", limit=limit)
                assert [trade["r"] for trade in found["trades"]] == expected
            assert (await client.data("quote/ETHUSDT"))["r"] == 22
            told = await client.as_of("quote/ETHUSDT", as_of=str(far - 2_000_000))
            assert (told["r"], told["time"]) == (far - 2_000_000, at(100))
    finally:
        await market.clickhouse.command(
            "ALTER TABLE trades__v1 DELETE WHERE _r > 1000 SETTINGS mutations_sync = 1"
        )
        for name in tables:
            await reach(market, name, END)
