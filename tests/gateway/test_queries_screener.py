"""What screens found: newest first, as last revised, by class, ranked, counted; and what runs."""

from typing import Any

import pytest

from tidemill.schemas.screening.strategies import STRATEGIES
from tidemill.tests.gateway.asking import Client
from tidemill.tests.gateway.market import at

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
SCREENER = "/api/screener"


def told(found: dict[str, Any]) -> list[tuple[int, str, str]]:
    assert found["count"] == len(found["results"])
    return [(one["r"], one["screen"], one["symbol"]) for one in found["results"]]


async def test_the_newest_signals_as_last_revised_without_those_taken_back(client: Client) -> None:
    found = await client.data(f"{SCREENER}/results")
    assert told(found) == [
        (54, "hourly", "ETHUSDT"), (52, "score", "BTCUSDT"), (50, "score", "BTCUSDT"),
        (30, "oversold", "BTCUSDT"),
    ]  # fmt: skip
    score = found["results"][1]
    assert (score["ts_open"], score["ts_close"]) == (at(0), at(60))
    assert score["timestamp"] == at(60) // 1_000_000
    assert score["signals"] == {
        "trend": "BULLISH", "strength": 80.0, "momentum": "WEAK", "volatility": "LOW",
        "recommendation": "STRONG_BUY",
    }  # fmt: skip
    assert [(one["term"], one["points"]) for one in score["reasons"]] == [
        ("rsi", 0.0), ("macd", 10.0), ("average", 20.0), ("band", 0.0), ("stochastic", 0.0),
    ]  # fmt: skip
    assert score["reasons"][2]["says"] == "close > EMA 20 > EMA 50 > EMA 200"
    assert score["indicators"]["rsi"] == 1.0 and score["indicators"]["atr_percent"] == 12.0
    assert score["price"] == {"current": 101.5}
    assert found["results"][2]["flags"] == ["LATE"] and found["results"][2]["revision"] == 1


async def test_a_signal_without_a_score_yet_says_its_condition_alone(client: Client) -> None:
    found = await client.data(f"{SCREENER}/results", screen="oversold")
    (one,) = found["results"]
    assert one["score"] is None and one["signals"]["recommendation"] == "NONE"
    assert one["reasons"] == [{"term": "condition", "says": "rsi(14) < 30", "points": None}]


async def test_the_condition_is_the_one_that_held_when_the_signal_was_raised(
    client: Client,
) -> None:
    found = await client.data(f"{SCREENER}/results", screen="oversold", as_of="52")
    says = {one["symbol"]: one["reasons"][0]["says"] for one in found["results"]}
    assert says == {"BTCUSDT": "rsi(14) < 30", "ETHUSDT": "rsi(14) < 20"}


async def test_in_the_past_a_signal_is_what_it_was(client: Client) -> None:
    found = await client.data(f"{SCREENER}/results", as_of="49", timeframe="1m")
    assert told(found) == [
        (32, "score", "BTCUSDT"), (31, "oversold", "ETHUSDT"), (30, "oversold", "BTCUSDT"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "roots"),
    [
        ({"symbol": "ETHUSDT"}, [54]),
        ({"venue": "BINANCE_US"}, []),
        ({"timeframe": "1h"}, [54]),
        ({"limit": 2}, [54, 52]),
        ({"screen": "score"}, [52, 50]),
    ],
)
async def test_only_what_was_asked_for(
    client: Client, asked: dict[str, Any], roots: list[int]
) -> None:
    found = await client.data(f"{SCREENER}/results", **asked)
    assert [one["r"] for one in found["results"]] == roots


async def test_signals_of_a_class_are_by_what_was_last_said(client: Client) -> None:
    for name, roots in (("STRONG_BUY", [52]), ("SELL", [50]), ("HOLD", []), ("BUY", [])):
        found = await client.data(f"{SCREENER}/signals/{name}")
        assert found["recommendation"] == name
        assert [one["r"] for one in found["results"]] == roots
    assert await client.error(f"{SCREENER}/signals/MAYBE") == (400, "VALIDATION_ERROR")


async def test_a_scan_ranks_the_newest_score_of_every_instrument(client: Client) -> None:
    found = await client.data(f"{SCREENER}/scan")
    scores = [(one["symbol"], one["timeframe"], one["score"]) for one in found["results"]]
    assert scores == [("BTCUSDT", "1m", 80.0), ("ETHUSDT", "1m", 50.0), ("ETHUSDT", "1h", 20.0)]


async def test_stats_count_what_was_last_said_of_every_bar(client: Client) -> None:
    found = (await client.data(f"{SCREENER}/stats"))["screens"]
    counts = {
        one["screen"]: (one["raised"], one["withdrawn"], one["scored"], one["recommendations"])
        for one in found
    }
    assert counts == {
        "hourly": (1, 0, 0, {"STRONG_SELL": 1}),
        "oversold": (1, 1, 0, {"NONE": 1}),
        "score": (0, 0, 2, {"SELL": 1, "STRONG_BUY": 1}),
    }
    assert [one["timeframe"] for one in found] == ["1h", "1m", "1m"]
    assert found[1]["instruments"] == 2 and found[2]["newest"] == at(60)


async def test_strategies_are_the_built_in_ones_and_the_screens_that_run(client: Client) -> None:
    found = await client.data(f"{SCREENER}/strategies")
    assert [one["name"] for one in found["strategies"]] == list(STRATEGIES)
    assert [(one["name"], one["condition"], one["r"]) for one in found["screens"]] == [
        ("oversold", "rsi(14) < 20", 31), ("score", "", 11),
    ]  # fmt: skip
    assert found["screens"][0]["instruments"] == ["*", "ETHUSDT.BINANCE"]
    past = await client.data(f"{SCREENER}/strategies", as_of="20")
    assert [one["name"] for one in past["screens"]] == ["hourly", "oversold", "score"]


@pytest.mark.parametrize(
    "asked",
    [{"timeframe": "7m"}, {"screen": "A"}, {"limit": 0}, {"hours": 0}, {"symbol": "x"}, {"y": 1}],
)
async def test_a_question_that_cannot_be_is_refused(client: Client, asked: dict[str, Any]) -> None:
    assert await client.error(f"{SCREENER}/results", **asked) == (400, "VALIDATION_ERROR")
