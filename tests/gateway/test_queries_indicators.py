"""Indicators of an instrument: newest values by name, revisions, positions, and bad questions."""

from typing import Any

import pytest

from tidemill.tests.gateway.asking import Client
from tidemill.tests.gateway.market import at

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
PATH = "/api/analytics/indicators/BTCUSDT"


def values(found: dict[str, Any], name: str) -> list[tuple[dict[str, float], int]]:
    (one,) = (each for each in found["indicators"] if each["indicator"] == name)
    return [(value["outputs"], value["revision"]) for value in one["values"]]


async def test_the_newest_values_of_all_that_run_as_last_revised(client: Client) -> None:
    found = await client.data(PATH)
    assert (found["symbol"], found["venue"], found["timeframe"]) == ("BTCUSDT", "BINANCE", "1m")
    assert values(found, "sma(20)") == [({"sma": 102.5}, 1)]
    assert values(found, "macd(12,26,9)") == [
        ({"macd": 3.5, "signal": 2.5, "histogram": 1.0}, 0)
    ]  # fmt: skip
    (sma,) = (one for one in found["indicators"] if one["indicator"] == "sma(20)")
    (value,) = sma["values"]
    assert (value["ts_open"], value["ts_close"], value["r"]) == (at(60), at(120), 50)
    assert value["flags"] == ["LATE"]


async def test_older_values_come_first_and_only_those_that_were_asked_for(client: Client) -> None:
    found = await client.data(PATH, indicators="sma(20)", limit=10)
    assert [one["indicator"] for one in found["indicators"]] == ["sma(20)"]
    assert values(found, "sma(20)") == [({"sma": 100.25}, 0), ({"sma": 102.5}, 1)]
    both = await client.data(PATH, indicators="macd(12,26,9),sma(20)")
    assert {one["indicator"] for one in both["indicators"]} == {"macd(12,26,9)", "sma(20)"}


async def test_at_a_position_before_the_revision_the_value_is_what_it_was(client: Client) -> None:
    found = await client.data(PATH, indicators="sma(20)", as_of="49")
    assert values(found, "sma(20)") == [({"sma": 101.5}, 0)]
    assert (await client.data(PATH, as_of="29"))["indicators"] == []


async def test_other_bars_and_times_are_their_own(client: Client) -> None:
    hour = await client.data(PATH, timeframe="1h")
    assert values(hour, "sma(20)") == [({"sma": 7.0}, 0)]
    early = await client.data(PATH, to=str(at(60)), limit=5)
    assert values(early, "sma(20)") == [({"sma": 100.25}, 0)]


@pytest.mark.parametrize(
    "asked", [{"timeframe": "7m"}, {"indicators": "sma"}, {"indicators": "sma(20)'"}, {"limit": 0}]
)
async def test_a_question_that_cannot_be_is_refused(client: Client, asked: dict[str, Any]) -> None:
    assert await client.error(PATH, **asked) == (400, "VALIDATION_ERROR")
