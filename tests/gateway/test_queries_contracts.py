"""Questions about contracts, books, arbitrage and feeds, and their answers over real databases."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tidemill.tests.gateway.asking import Client, client_of
from tidemill.tests.gateway.contracts_market import fill
from tidemill.tests.gateway.market import END, at
from tidemill.tests.projections.stores import stores_on
from tidemill.tests.servers import clickhouse_server, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
PATHS = (
    *("orderbook/status", "BTCUSDT/orderbook", "BTCUSDT/orderbook/history", "arbitrage", "feeds"),
    *("BTCUSDT/funding-rate", "BTCUSDT/funding-rate/all", "BTCUSDT/funding-rate/history"),
    *("BTCUSDT/open-interest", "BTCUSDT/open-interest/all", "BTCUSDT/open-interest/history"),
    *("liquidations/BTCUSDT", "venue-candles/BTCUSDT", "feeds/events", "quote/BTCUSDT"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asking(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A client before a market of contracts."""
    async with AsyncExitStack() as stack:
        directory = tmp_path_factory.mktemp("contracts")
        clickhouse = await stack.enter_async_context(clickhouse_server(directory))
        postgres = await stack.enter_async_context(postgres_server(directory))
        stores = await stack.enter_async_context(stores_on(clickhouse, postgres))
        await fill(stores)
        yield await stack.enter_async_context(client_of(stores))


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_says_its_position_and_shows_nothing_beyond(
    asking: Client, path: str
) -> None:
    answer = await asking.get(path)
    told = answer.json()["meta"]["as_of"]
    assert (told["r"], told["time"]) == (END, at(100))
    assert f'"r":{END + 1}' not in answer.text


@pytest.mark.parametrize("name", ["BTCUSDT", "BTC-USDT", "BTC/USDT", "BTCUSDT-PERP"])
async def test_the_funding_of_a_name_is_that_of_the_perpetual_of_its_pair(
    asking: Client, name: str
) -> None:
    found = await asking.data(f"{name}/funding-rate")
    assert (found["symbol"], found["exchange"], found["r"]) == ("BTCUSDT-PERP", "BINANCE", 60)
    assert (found["fundingRate"], found["sentiment"]) == ("0.002", "BULLISH")
    assert found["signal"] == "extreme: overheated longs"
    assert (found["fundingIntervalHours"], found["avgFunding7d"]) == ("8", "-0.000000000003")
    assert (found["nextFundingTime"], found["markPrice"]) == (at(28_800) // 10**6, "60000.5")
    assert found["flags"] == []


async def test_the_funding_of_all_venues_with_a_summary(asking: Client) -> None:
    found = await asking.data("BTCUSDT/funding-rate/all")
    assert {venue: item["fundingRate"] for venue, item in found["exchanges"].items()} == {
        "BINANCE": "0.002",
        "OKX": "-0.00005",
    }
    assert found["exchanges"]["OKX"]["flags"] == ["PARTIAL_24H", "PARTIAL_7D", "STALE"]
    assert found["summary"] == {
        "avgFundingRate": "0.000975",
        "highest": "BINANCE",
        "lowest": "OKX",
        "venues": 2,
    }


async def test_funding_of_the_past_and_over_time(asking: Client) -> None:
    then = await asking.data("BTCUSDT/funding-rate", as_of="59")
    assert (then["fundingRate"], then["r"]) == ("0.0001", 50)
    history = await asking.data("BTCUSDT/funding-rate/history", hours=1, limit=1_000)
    assert [row["r"] for row in history] == [50, 60]
    coarse = await asking.data("BTCUSDT/funding-rate/history", hours=168, limit=1)
    assert [row["r"] for row in coarse] == [60]


async def test_funding_of_a_dated_contract_is_not_there(asking: Client) -> None:
    assert await asking.error("BTCUSDT_260327/funding-rate") == (404, "NO_DATA")
    assert await asking.error("BTCUSDT/funding-rate", venue="BYBIT") == (404, "SYMBOL_NOT_FOUND")
    assert await asking.error("BTCUSDT/funding-rate", hours=3) == (400, "VALIDATION_ERROR")


async def test_open_interest_says_what_it_was_and_why(asking: Client) -> None:
    found = await asking.data("BTCUSDT/open-interest")
    assert (found["openInterest"], found["openInterestBase"]) == ("80000", "80000")
    assert (found["openInterestChange24h"], found["openInterestChangePct"]) == ("-20000", "-20")
    assert (found["price"], found["priceChange24h"], found["volume24h"]) == ("60000", "4.5", "1000")
    assert found["signal"] == "NEUTRAL" and "shorts are closed" in found["explanation"]


async def test_what_is_not_known_yet_is_null_and_contracts_are_counted_in_base_units(
    asking: Client,
) -> None:
    found = await asking.data("BTCUSDT/open-interest/all")
    okx = found["exchanges"]["OKX"]
    assert (okx["openInterestChange24h"], okx["priceChange24h"]) == (None, None)
    assert (okx["contractMultiplier"], okx["openInterestBase"]) == ("0.01", "800")
    assert found["summary"] == {"totalOpenInterestBase": "80800", "venues": 2}
    dated = await asking.data("BTCUSDT_260327/open-interest")
    assert (dated["symbol"], dated["openInterest"]) == ("BTCUSDT_260327", "80000")


async def test_opportunities_that_stand_open_widest_first(asking: Client) -> None:
    (found,) = await asking.data("arbitrage")
    assert (found["symbol"], found["low_exchange"], found["high_exchange"]) == (
        *("BTC/USDT", "BINANCE"),
        "OKX",
    )
    assert (found["spread_percent"], found["net_percent"]) == ("0.5", "0.2")
    assert (found["net"], found["fees"], found["quantity"]) == ("3", "3", "1.5")
    assert (found["changes"], found["flags"], found["r"]) == (1, ["BOUNDED"], 55)
    all_of_them = await asking.data("arbitrage", minSpread="0.09")
    assert [one["low_exchange"] for one in all_of_them] == ["BINANCE", "BYBIT"]
    assert await asking.data("arbitrage", legs="PERPETUAL") == []


async def test_opportunities_as_they_stood_then(asking: Client) -> None:
    then = await asking.data("arbitrage", as_of="54")
    assert {one["low_exchange"]: one["r"] for one in then} == {"BINANCE": 53, "OKX": 54}
    assert await asking.data("arbitrage", as_of="52") == []


async def test_a_book_and_what_it_is_for(asking: Client) -> None:
    found = await asking.data("BTCUSDT/orderbook", as_of="61")
    book, analysis = found["snapshot"], found["analysis"]
    assert (book["bestBid"], book["bestAsk"], book["state"]) == ("59990", "60010", "VALID")
    assert (book["spread"], book["spreadPercent"], book["imbalance"]) == ("20", "0.0333333", "0.4")
    assert (book["bidDepth1Percent"], book["bidWall"]) == ("10000000", ["59900", "9"])
    assert (book["askWall"], book["flags"]) == (None, [])
    assert (analysis["signal"], analysis["confidence"]) == ("BUY", "0.6")
    assert analysis["reason"] == "more is bid than offered within 1 %: imbalance 0.400"
    assert analysis["details"] == {
        "spreadQuality": "EXCELLENT",
        "liquidityScore": 61,
        "hasLargeWalls": True,
    }


async def test_of_a_book_that_is_not_valid_only_its_state_is_told(asking: Client) -> None:
    answer = (await asking.get("BTCUSDT/orderbook", as_of="62")).json()
    book = answer["data"]["snapshot"]
    assert (book["state"], book["bestBid"], book["bidDepth1Percent"]) == ("INVALID", None, None)
    assert answer["meta"]["as_of"]["flags"] == ["INVALID", "STALE"]
    assert answer["data"]["analysis"]["reason"] == "the book is INVALID"
    levels = (await asking.get("orderbook/BTCUSDT", as_of="62")).json()
    assert (levels["data"]["bids"], levels["data"]["asks"]) == ([], [])
    assert (levels["data"]["state"], levels["data"]["flags"]) == ("INVALID", ["INVALID", "STALE"])


async def test_books_over_time_keep_the_moments_without_proof(asking: Client) -> None:
    found = await asking.data("BTCUSDT/orderbook/history", hours=1, limit=1_000)
    assert [(row["r"], row["state"]) for row in found] == [
        (61, "VALID"),
        (62, "INVALID"),
        (63, "VALID"),
    ]
    assert found[1]["imbalance"] is None
    told = await asking.as_of("BTCUSDT/orderbook/history", hours=1, limit=1_000)
    assert told["flags"] == ["INVALID", "STALE"]


async def test_the_status_of_every_book(asking: Client) -> None:
    (now,) = await asking.data("orderbook/status")
    assert (now["symbol"], now["state"], now["lastUpdateId"]) == ("BTCUSDT", "VALID", 63)
    (then,) = await asking.data("orderbook/status", as_of="62")
    assert (then["state"], then["flags"]) == ("INVALID", ["INVALID", "STALE"])


async def test_forced_orders_newest_by_position(asking: Client) -> None:
    found = await asking.data("liquidations/BTC-USDT")
    assert [(one["r"], one["side"], one["averagePrice"]) for one in found] == [
        (41, "BUY", "58990"),
        (40, "SELL", None),
    ]
    assert found[0]["flags"] == ["LIQUIDATION"] and found[0]["filledQty"] == "1.5"
    window = await asking.data("liquidations/BTCUSDT", from_=str(at(25)), to=str(at(31)))
    assert [one["r"] for one in window] == [40]
    assert await asking.data("liquidations/BTCUSDT", venue="OKX") == []


async def test_the_venues_own_candle_as_it_sent_it_last(asking: Client) -> None:
    (bar,) = await asking.data("venue-candles/BTCUSDT")
    assert (bar["close"], bar["trades"], bar["volume"], bar["r"]) == ("61000", 5, "2.5", 43)
    assert bar["ts_open"] == at(0)
    (then,) = await asking.data("venue-candles/BTCUSDT", as_of="42")
    assert (then["close"], then["trades"]) == ("60000", 4)


async def test_feeds_say_what_was_expected_and_what_came(asking: Client) -> None:
    found = await asking.data("feeds/events", symbol="BTCUSDT")
    assert [one["event"] for one in found] == [
        "TradeGapDetected",
        "BookResynced",
        "BookGapDetected",
    ]
    assert (found[2]["expected"], found[2]["received"], found[2]["reason"]) == ("5", "8", "GAP")
    assert found[1]["detail"] == {"attempts": 2, "invalid_ns": 44}
    (okx,) = await asking.data("feeds/events", venue="OKX")
    assert (okx["product"], okx["symbol"], okx["ts_from"]) == ("SWAP", None, None)
    between = await asking.data("feeds/events", from_=str(at(2)), to=str(at(4)))
    assert [one["r"] for one in between] == [12, 11]
    assert await asking.data("feeds/events", event="Nothing") == []


async def test_the_quality_of_every_feed(asking: Client) -> None:
    binance, okx = await asking.data("feeds")
    (spot,) = binance["feeds"]
    assert (spot["product"], spot["state"], spot["since"]) == ("SPOT", "FRESH", at(30))
    assert (spot["offset_ns"], spot["latency_ns"]) == (-7, 9)
    assert spot["events"] == {"ClockSkew": 1, "FeedConnected": 1}
    assert binance["events"] == {"BookGapDetected": 1, "BookResynced": 1, "TradeGapDetected": 1}
    assert [(feed["product"], feed["state"]) for feed in okx["feeds"]] == [("SWAP", "STALE")]
    assert (await asking.as_of("feeds"))["flags"] == ["STALE"]
    assert (await asking.as_of("feeds", as_of="25"))["flags"] == ["STALE"]
    assert (await asking.as_of("feeds", as_of="35"))["flags"] == []


async def test_a_quote_says_that_its_book_was_lost(asking: Client) -> None:
    assert (await asking.data("quote/BTCUSDT", as_of="12"))["flags"] == ["BOOK_INVALID"]
    assert (await asking.data("quote/BTCUSDT", as_of="13"))["flags"] == []


async def test_definitions_of_contracts_are_whole(asking: Client) -> None:
    found = (await asking.data("instruments", pair="BTC/USDT"))["items"]
    of = {one["id"]: one for one in found}
    assert len(of) == 4
    perpetual, okx = of["BTCUSDT-PERP.BINANCE"], of["BTC-USDT-SWAP.OKX"]
    assert (perpetual["kind"], perpetual["settle"]) == ("PERPETUAL", "USDT")
    assert (perpetual["raw_symbol"], perpetual["funding_interval_s"]) == ("BTCUSDT", 28_800)
    assert (okx["contract_multiplier"], okx["ts_listed"], okx["ts_expires"]) == (
        *("0.01", at(-9)),
        None,
    )
    assert of["BTCUSDT_260327.BINANCE"]["ts_expires"] == at(9)
    spot = of["BTCUSDT.BINANCE"]
    assert (spot["kind"], spot["settle"], spot["inverse"]) == ("SPOT", None, False)
    swaps = await asking.data("instruments", product="SWAP")
    assert [one["symbol"] for one in swaps["items"]] == ["BTC-USDT-SWAP"]
    then = await asking.data("instruments", as_of="2")
    assert then["total"] == 2


@pytest.mark.parametrize(
    ("path", "name", "most"),
    [
        ("orderbook/BTCUSDT", "limit", 100),
        ("BTCUSDT/orderbook/history", "hours", 168),
        ("BTCUSDT/funding-rate/history", "hours", 168),
        ("BTCUSDT/open-interest/history", "limit", 1_000),
        ("arbitrage", "limit", 100),
        ("liquidations/BTCUSDT", "limit", 1_000),
        ("feeds/events", "limit", 1_000),
        ("feeds", "hours", 168),
    ],
)
async def test_limits_are_limits(asking: Client, path: str, name: str, most: int) -> None:
    for allowed in (1, most):
        assert (await asking.get(path, **{name: allowed})).status_code in (200, 404)
    for beyond in (0, most + 1, -1, "x"):
        assert await asking.error(path, **{name: beyond}) == (400, "VALIDATION_ERROR")


async def test_a_record_is_asked_for_with_its_position(asking: Client) -> None:
    assert await asking.error("orderbook/BTCUSDT", i=3) == (400, "VALIDATION_ERROR")
    when = "2024-08-08T12:00:00Z"
    assert await asking.error("orderbook/BTCUSDT", i=3, as_of=when) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("text", ["BTCUSDT'; DROP TABLE x; --", "btcusdt", "Ä", "B" * 49])
@pytest.mark.parametrize("path", ["{}/orderbook", "{}/funding-rate/all", "liquidations/{}"])
async def test_a_symbol_that_is_no_name_is_refused(asking: Client, path: str, text: str) -> None:
    assert await asking.error(path.format(text)) == (400, "VALIDATION_ERROR")
