"""The market of a venue over 24 hours."""

import math
import statistics
from itertools import pairwise
from typing import Any

import pytest

from tidemill.gateway.queries.overview import _mover, _ranked
from tidemill.tests.gateway.asking import Client
from tidemill.tests.gateway.market import at

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
OVERVIEW = "/api/analytics/market-overview"


def volatility(closes: list[float]) -> float:
    moves = [math.log(b / a) for a, b in pairwise(closes)]
    return 100 * math.sqrt(1440) * statistics.stdev(moves)


async def test_a_day_is_summed_up_by_its_minutes_as_last_revised(client: Client) -> None:
    """At r 100 the newest quote came at 70 s: the minute that opens at 120 s is not of the day."""
    found = await client.data(OVERVIEW)
    (mover,) = found["volumeLeaders"]
    assert mover.pop("volatility") == pytest.approx(volatility([97.5, 98.5, 99.5, 100.5, 101.5]))
    assert mover == {
        "symbol": "BTCUSDT",
        "price": "101.5",
        "change": "4.5",
        "changePercent": "4.639175257731958763",
        "high": "200",
        "low": "87",
        "volume": "11",
        "quoteVolume": "1197",
        "trades": 21,
        "minutes": 5,
        "flags": ["LATE"],
    }
    assert [one["symbol"] for one in found["topGainers"]] == ["BTCUSDT"]
    assert found["topLosers"] == []
    assert found["timestamp"] == at(70) // 1_000_000
    stats = found["marketStats"]
    assert stats.pop("averageVolatility") == pytest.approx(
        volatility([97.5, 98.5, 99.5, 100.5, 101.5])
    )
    assert stats == {
        "totalVolume": "1197",
        "symbols": 1,
        "gainers": 1,
        "losers": 0,
        "unchanged": 0,
    }


async def test_the_past_is_asked_by_its_position(client: Client) -> None:
    (mover,) = (await client.data(OVERVIEW, as_of=35))["volumeLeaders"]
    assert (mover["minutes"], mover["quoteVolume"], mover["flags"]) == (4, "794", [])
    told = await client.as_of(OVERVIEW, as_of=35)
    assert told["r"] == 35


async def test_a_venue_and_a_currency_without_instruments_have_an_empty_market(
    client: Client,
) -> None:
    for which in ({"venue": "OKX"}, {"quote": "EUR"}):
        found = await client.data(OVERVIEW, **which)
        assert found["volumeLeaders"] == found["topGainers"] == []
        assert found["marketStats"]["symbols"] == 0
        assert found["marketStats"]["averageVolatility"] is None


async def test_before_anything_was_heard_there_is_no_market(client: Client) -> None:
    assert await client.error(OVERVIEW, as_of=5) == (404, "NO_DATA")


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 101}, {"quote": "usdt"}, {"venue": "x y"}, {"other": 1}]
)
async def test_parameters_are_bounded(client: Client, wrong: dict[str, Any]) -> None:
    assert await client.error(OVERVIEW, **wrong) == (400, "VALIDATION_ERROR")


def row(symbol: str, first: str, last: str, notional: str) -> dict[str, Any]:
    numbers = {"highest": last, "lowest": first, "base_volume": "1", "notional": notional}
    counts = {"trades": 1, "minutes": 2, "all_flags": 0, "volatility": 2.0}
    return {"symbol": symbol, "first": first, "last": last, **numbers, **counts}


async def test_leaders_are_ranked_and_equal_ones_stand_by_symbol() -> None:
    rows = [
        row("A", "100", "101", "5"),
        row("B", "10", "11", "7"),
        row("C", "4", "3", "7"),
        row("D", "0", "3", "0.5"),
        row("E", "2", "2.02", "1"),
        row("F", "3", "2", "1"),
    ]
    found = _ranked([_mover(one) for one in rows], 2)
    assert [one["symbol"] for one in found["topGainers"]] == ["B", "A"]
    assert [one["symbol"] for one in found["topLosers"]] == ["F", "C"]
    assert [one["symbol"] for one in found["volumeLeaders"]] == ["B", "C"]
    assert found["marketStats"] == {
        "totalVolume": "21.5",
        "symbols": 6,
        "averageVolatility": 2.0,
        "gainers": 3,
        "losers": 2,
        "unchanged": 1,
    }
