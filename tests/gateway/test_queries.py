"""Questions and their answers, over real databases."""

from typing import Any

import pytest

from tidemill.tests.gateway.asking import Client
from tidemill.tests.gateway.market import END, at

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_trades_are_the_newest_by_position_not_by_time(client: Client) -> None:
    found = await client.data("trades/BTCUSDT")
    assert found["symbol"] == "BTCUSDT"
    assert [trade["r"] for trade in found["trades"]] == [70, 60, 12, 11, 10]


async def test_a_trade_is_as_the_reference_has_it_with_exact_numbers_as_text(
    client: Client,
) -> None:
    found = await client.data("trades/BTCUSDT", venue="BINANCE", limit=1)
    assert found["trades"] == [
        {
            "id": 3,
            "price": "61836",
            "qty": "0.000000000000000001",
            "quoteQty": "0.000000000000061836",
            "time": at(0.5) // 1_000_000,
            "isBuyerMaker": False,
            "symbol": "BTCUSDT",
            "venue": "BINANCE",
            "aggressor_side": "BUYER",
            "ts_event": at(0.5),
            "ts_recv": at(0.5) + 5_000_000,
            "r": 60,
            "i": 0,
            "flags": ["FILLED"],
        }
    ]
    told = await client.as_of("trades/BTCUSDT", venue="BINANCE", limit=1)
    assert told["flags"] == ["FILLED"]


@pytest.mark.parametrize("name", ["BTC-USDT", "BTC/USDT", "BTC%2FUSDT"])
async def test_a_pair_means_its_instruments_at_all_venues(client: Client, name: str) -> None:
    found = await client.data(f"trades/{name}")
    assert {trade["venue"] for trade in found["trades"]} == {"BINANCE", "BINANCE_US"}


@pytest.mark.parametrize(
    "window",
    [
        {"from_": "2024-08-08T12:00:02Z", "to": "2024-08-08T12:00:03.000000001Z"},
        {"from_": str(at(2)), "to": str(at(3) + 1)},
        {"from_": "2024-08-08T14:00:02+02:00", "to": "2024-08-08 12:00:03.000000001"},
    ],
)
async def test_a_window_of_event_time_takes_its_beginning_and_not_its_end(
    client: Client, window: dict[str, str]
) -> None:
    found = await client.data("trades/BTCUSDT", **window)
    assert [trade["id"] for trade in found["trades"]] == [77, 2]


async def test_candles_are_oldest_first_with_the_last_revision_of_each(client: Client) -> None:
    found = await client.data("candles/BTCUSDT", timeframe="1m", limit=3)
    assert [(c["ts_open"], c["revision"], c["high"]) for c in found] == [
        (at(60), 1, "200"),
        (at(120), 0, "112"),
        (at(180), 0, "113"),
    ]
    assert found[0]["flags"] == ["LATE"] and found[1]["flags"] == ["GAP"]
    assert (found[0]["ts_close"], found[0]["volume"]) == (at(120), "3")


async def test_the_flags_of_rows_are_told_with_the_position(client: Client) -> None:
    assert (await client.as_of("candles/BTCUSDT", limit=3))["flags"] == ["GAP", "LATE"]
    assert (await client.as_of("candles/BTCUSDT", limit=1))["flags"] == []


async def test_candles_of_the_past_have_the_revision_of_then(client: Client) -> None:
    found = await client.data("candles/BTCUSDT", as_of="49", from_=str(at(60)), to=str(at(61)))
    assert [(c["revision"], c["high"]) for c in found] == [(0, "111")]


async def test_candles_of_another_venue_and_timeframe(client: Client) -> None:
    us = await client.data("candles/BTCUSDT", venue="BINANCE_US")
    assert [c["close"] for c in us] == ["105"]
    hour = await client.data("candles/BTC-USDT", timeframe="1h")
    assert [(c["timeframe"], c["trades"]) for c in hour] == [("1h", 70)]


async def test_candles_made_of_shorter_ones_end_where_the_calendar_says(client: Client) -> None:
    found = await client.data("candles/BTCUSDT", timeframe="3m")
    assert [(c["ts_open"], c["ts_close"], c["revision"], c["high"]) for c in found] == [
        (at(0), at(180), 0, "103"),
        (at(180), at(360), 1, "106"),
    ]
    assert [c["flags"] for c in found] == [["PARTIAL"], ["LATE"]]
    then = await client.data("candles/BTCUSDT", timeframe="3m", as_of="60", limit=1)
    assert [(c["revision"], c["high"]) for c in then] == [(0, "105")]
    (month,) = await client.data("candles/BTCUSDT", timeframe="1M")
    assert (month["timeframe"], month["trades"]) == ("1M", 70)
    assert (month["ts_open"], month["ts_close"]) == (at(-86_400), at(2_592_000))
    assert await client.data("candles/BTCUSDT", timeframe="1w") == []


async def test_candles_over_venues_say_whose_they_are(client: Client) -> None:
    found = await client.data("candles/BTCUSDT", venue="COMPOSITE")
    assert [(c["ts_open"], c["revision"], c["high"], c["venues"]) for c in found] == [
        (at(0), 1, "105", ["BINANCE", "BINANCE_US"]),
        (at(60), 0, "106", ["BINANCE_US"]),
    ]
    assert [(c["missing"], c["late"], c["flags"]) for c in found] == [
        ([], ["BINANCE_US"], ["LATE"]), ([], [], []),
    ]  # fmt: skip
    (then,) = await client.data("candles/BTC-USDT", venue="COMPOSITE", as_of="59")
    assert (then["revision"], then["missing"], then["flags"]) == (0, ["BINANCE_US"], ["STALE"])
    (hour,) = await client.data("candles/BTCUSDT", venue="COMPOSITE", timeframe="1h")
    assert (hour["trades"], hour["ts_close"]) == (70, at(3_600))
    for other in ({"timeframe": "3m"}, {"type": "tick"}):
        answer = await client.get("candles/BTCUSDT", venue="COMPOSITE", **other)
        assert answer.status_code == 400
        assert "a composite has bars 1s, 1m, 5m, 15m, 1h, 4h, 1d" in answer.text


async def test_a_timeframe_that_is_not_made_is_refused_and_names_those_that_are(
    client: Client,
) -> None:
    answer = await client.get("candles/BTCUSDT", timeframe="7m")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    (one,) = error["details"]["errors"]
    assert one["path"] == "query.timeframe"
    assert one["message"] == (
        "7m is no timeframe; there are"
        " 1s, 1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M"
    )


async def test_candles_by_what_was_traded_have_their_bar_type_and_their_last_revision(
    client: Client,
) -> None:
    found = await client.data("candles/BTCUSDT", type="tick")
    assert [(c["sequence"], c["revision"], c["flags"]) for c in found] == [
        (0, 0, ["PARTIAL"]), (1, 1, ["GAP"]), (2, 0, []),
    ]  # fmt: skip
    assert (found[0]["type"], found[0]["timeframe"]) == (
        "BTCUSDT.BINANCE-3-TICK-LAST-INTERNAL", "tick",
    )  # fmt: skip
    assert (found[0]["ts_open"], found[0]["ts_close"], found[0]["trades"]) == (at(0), at(3), 3)
    assert (found[2]["open"], found[2]["threshold"]) == ("105", "5")
    then = await client.data("candles/BTCUSDT", type="TICK", as_of="55", limit=1)
    assert [(c["sequence"], c["revision"]) for c in then] == [(1, 0)]


async def test_candles_of_one_step_are_those_alone_and_a_bar_that_seeds_has_no_type(
    client: Client,
) -> None:
    found = await client.data("candles/BTCUSDT", type="5-tick")
    assert [c["sequence"] for c in found] == [2]
    (seeding,) = await client.data("candles/BTCUSDT", type="volume")
    assert (seeding["type"], seeding["step"], seeding["timeframe"]) == ("", "0", "volume")
    assert await client.data("candles/BTCUSDT", type="renko", from_=str(at(0))) == []
    assert await client.data("candles/BTCUSDT", type="tick", from_=str(at(3)), to=str(at(6)))


@pytest.mark.parametrize("text", ["kagi", "0-tick", "1.5-tick", "tick-5", "1000", "", "x" * 61])
async def test_a_type_that_is_none_is_refused(client: Client, text: str) -> None:
    assert (await client.get("candles/BTCUSDT", type=text)).status_code == 400


async def test_a_quote_has_the_best_prices_and_the_last_trade_of_its_venue(
    client: Client,
) -> None:
    quote = await client.data("quote/BTCUSDT")
    assert (quote["venue"], quote["bid"], quote["ask"]) == ("BINANCE", "61838", "61838.01")
    assert (quote["price"], quote["ts_event"], quote["ts_recv"]) == ("61837.62", None, at(70))
    us = await client.data("quote/BTCUSDT", venue="BINANCE_US")
    assert (us["bid"], us["bidVolume"], us["price"]) == ("61839", "3", "61841.5")


async def test_a_quote_older_than_thirty_seconds_is_stale(client: Client) -> None:
    assert (await client.data("quote/BTCUSDT", venue="BINANCE_US"))["flags"] == ["STALE"]
    assert (await client.data("quote/BTCUSDT", venue="BINANCE"))["flags"] == []
    then = await client.data("quote/BTCUSDT", venue="BINANCE_US", as_of="21")
    assert then["flags"] == []


async def test_an_empty_side_of_a_book_has_no_price(client: Client) -> None:
    quote = await client.data("quote/ETHUSDT")
    assert (quote["bid"], quote["ask"]) == (None, "2450.6")


async def test_the_aggregated_price_divides_exactly_and_says_who(client: Client) -> None:
    price = await client.data("aggregated/BTCUSDT", as_of="40")
    assert price["vwap"] == "61837.666666666666666667"  # 185513 / 3, half to even at 18 decimals
    assert price["avg_price"] == "61838.815"
    assert price["max_spread_percent"] == "0.003864961167651666"
    assert price["max_spread_exchange_high"] == "BINANCE_US"
    assert price["max_spread_exchange_low"] == "BINANCE"
    assert price["exchanges_count"] == 2
    assert (price["best_bid"], price["best_bid_exchange"]) == ("61839", "BINANCE_US")
    assert (price["best_ask"], price["best_ask_exchange"]) == ("61837.63", "BINANCE")
    assert price["prices"] == {"BINANCE": "61837.62", "BINANCE_US": "61840.01"}
    assert (price["timestamp"], price["ts"]) == (at(20) // 1_000_000, at(20))


async def test_a_venue_that_was_not_heard_for_thirty_seconds_has_no_price(
    client: Client,
) -> None:
    price = await client.data("aggregated/BTC-USDT", as_of="41")  # at 40.5 s
    assert price["prices"] == {"BINANCE_US": "61840.01"}  # quoted at 11 s; BINANCE at 10 s
    assert (price["best_ask"], price["best_ask_exchange"]) == (None, None)
    assert price["flags"] == ["PARTIAL", "STALE"]


async def test_the_last_price_is_the_newest_by_event_time_and_a_quote_keeps_a_venue_fresh(
    client: Client,
) -> None:
    price = await client.data("aggregated/BTCUSDT")
    # The hole of r 60 was filled late: what it tells happened before r 11.
    assert price["prices"] == {"BINANCE": "61837.62", "BINANCE_US": "61841.5"}
    assert price["avg_price"] == "61839.56"


async def test_more_than_one_aggregated_price_is_a_list_newest_first(client: Client) -> None:
    found = await client.data("aggregated/BTCUSDT", limit=5)
    assert [price["r"] for price in found] == [85, 41, 40]


async def test_a_comparison_sets_venues_side_by_side(client: Client) -> None:
    found = await client.data("comparison/BTCUSDT")
    assert found["exchanges"] == {
        "BINANCE": {"price": "61837.62", "volume": "11", "available": True},
        "BINANCE_US": {"price": "61841.5", "volume": "10", "available": True},
    }
    # Quote volumes 200 + 403 + 199 + 198 + 197 and 1000, over volumes 11 and 10.
    assert found["aggregated"] == {
        "vwap": "104.619047619047619048",
        "avgPrice": "61839.56",
        "totalVolume": "21",
    }
    assert found["spread"] == {
        "percent": "0.006274497627819441",
        "highExchange": "BINANCE_US",
        "lowExchange": "BINANCE",
    }


@pytest.mark.parametrize("path", ["symbols", "tickers"])
async def test_symbols_are_those_that_trade(client: Client, path: str) -> None:
    assert await client.data(path) == ["BTCUSDT", "ETHUSDT"]
    assert await client.data(path, venue="BINANCE_US") == ["BTCUSDT"]
    assert await client.data(path, as_of="1") == ["BTCUSDT"]


async def test_instruments_are_as_defined_at_the_position(client: Client) -> None:
    def ticks(page: dict[str, Any]) -> dict[str, str]:
        return {item["id"]: item["tick_size"] for item in page["items"]}

    now = await client.data("instruments", pair="BTC-USDT")
    then = await client.data("instruments", pair="BTC/USDT", as_of="44")
    real = {"BTCUSDT.BINANCE": "0.1", "BTCUSDT.BINANCE_US": "0.01"}
    assert ticks(now) == real | {"BTCUSDT.COMPOSITE": "0"}
    assert ticks(then) == {"BTCUSDT.BINANCE": "0.01", "BTCUSDT.BINANCE_US": "0.01"}


async def test_instruments_come_in_pages(client: Client) -> None:
    first = await client.data("instruments", limit=3)
    assert (first["total"], first["hasNext"], len(first["items"])) == (5, True, 3)
    last = await client.data("instruments", limit=3, page=2)
    assert (last["hasNext"], [item["symbol"] for item in last["items"]]) == (
        False,
        ["ETHUSDT", "XRPUSDT"],
    )
    beyond = await client.data("instruments", limit=3, page=9)
    assert (beyond["total"], beyond["hasNext"], beyond["items"]) == (5, False, [])
    halted = await client.data("instruments", status="HALTED")
    assert [item["id"] for item in halted["items"]] == ["XRPUSDT.BINANCE"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("quote/XRPUSDT", "QUOTE_NOT_FOUND"),
        ("quote/NOSUCH", "SYMBOL_NOT_FOUND"),
        ("trades/NOSUCH", "SYMBOL_NOT_FOUND"),
        ("candles/NO-SUCH", "SYMBOL_NOT_FOUND"),
        ("candles/BTCUSDT-PERP", "SYMBOL_NOT_FOUND"),
        ("aggregated/NOSUCH", "SYMBOL_NOT_FOUND"),
        ("aggregated/ETHUSDT", "NO_DATA"),
        ("comparison/XRPUSDT", "NO_DATA"),
        ("nothing", "NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_404_with_its_code(client: Client, path: str, code: str) -> None:
    assert await client.error(path) == (404, code)


async def test_a_symbol_of_one_venue_is_not_found_at_another(client: Client) -> None:
    assert await client.error("candles/ETHUSDT", venue="BINANCE_US") == (404, "SYMBOL_NOT_FOUND")
    assert await client.error("trades/ETHUSDT", venue="KRAKEN") == (404, "SYMBOL_NOT_FOUND")


async def test_an_instrument_without_trades_has_an_empty_list(client: Client) -> None:
    assert await client.data("trades/XRPUSDT") == {"symbol": "XRPUSDT", "trades": []}
    assert await client.data("candles/ETHUSDT") == []


async def test_every_answer_says_its_position_and_nothing_beyond_it_shows(client: Client) -> None:
    told = await client.as_of("trades/BTCUSDT")
    assert told == {
        "r": END,
        "time": at(70),
        "time_iso": "2024-08-08T12:01:10.000000000Z",
        "version": 1,
        "flags": ["FILLED"],
    }
    every = ("trades", "candles", "quote", "aggregated", "comparison")
    for path in (*(f"{one}/BTCUSDT" for one in every), "symbols", "instruments"):
        answer = await client.get(path)
        assert answer.json()["meta"]["as_of"]["r"] == END
        assert "99999" not in answer.text and f'"r":{END + 1}' not in answer.text
