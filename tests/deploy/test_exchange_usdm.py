"""The simulated exchange as a client of Binance USD-M meets it."""

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tidemill.tests.deploy.simulated_exchange import DATA, Venue, fields, published, read, venue

pytestmark = pytest.mark.integration

FREQUENT = "/public/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"
REST = "/market/stream?streams=btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@markPrice@1s"
FOLDER = "crates/adapters/binance/test_data/futures/market_data_json"


def usdm(**options: Any) -> Any:
    return venue("BINANCE", ("USDM",), **options)


def of(messages: list[Any], stream: str) -> list[Any]:
    return [message["data"] for message in messages if message["stream"] == stream]


def some(stream: str, count: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len(of(seen, stream)) >= count


async def test_depth_updates_chain_by_pu_and_rebuild_the_book_of_the_record_and_of_book_ticker():
    """Binance's "How to manage a local order book correctly" for USD-M, literally."""
    depth = "btcusdt@depth@100ms"
    async with usdm() as it, it.ws(FREQUENT) as socket:
        seen = await read(socket, some(depth, 2))
        snapshot = await it.answer("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
        seen += await read(socket, some(depth, 12))
        last = snapshot["lastUpdateId"]
        book = {s: {Decimal(p): Decimal(q) for p, q in snapshot[s]} for s in ("bids", "asks")}
        updates = [update for update in of(seen, depth) if update["u"] >= last]
        tickers = {ticker["u"]: ticker for ticker in of(seen, "btcusdt@bookTicker")}
        compared = 0
        for first, update in zip([True] + [False] * len(updates), updates, strict=False):
            assert update["U"] <= last if first else update["pu"] == last
            assert update["pu"] < update["U"] <= update["u"]
            last = update["u"]
            for side, changes in (("bids", update["b"]), ("asks", update["a"])):
                for price, quantity in changes:
                    book[side][Decimal(price)] = Decimal(quantity)
                    if not Decimal(quantity):
                        del book[side][Decimal(price)]
            bid, ask = max(book["bids"]), min(book["asks"])
            best = max((t for u, t in tickers.items() if u <= last), key=lambda t: t["u"])
            assert (Decimal(best["b"]), Decimal(best["B"])) == (bid, book["bids"][bid])
            assert (Decimal(best["a"]), Decimal(best["A"])) == (ask, book["asks"][ask])
            compared += 1
        whole = await record(it, last)
    assert compared >= 10
    assert whole == (len(book["bids"]), len(book["asks"]), bid, ask)


async def record(it: Venue, last_update_id: int) -> tuple[int, int, Decimal, Decimal]:
    """Levels and best prices of the exchange's own record of a book."""
    query = {"symbol": "BTCUSDT", "channel": "depth", "update_id": last_update_id}
    book = await it.answer("/sim/book", **query)
    best = Decimal(book["bids"][0][0]), Decimal(book["asks"][0][0])
    return len(book["bids"]), len(book["asks"]), *best


async def test_a_stream_on_the_other_path_and_the_old_paths_are_silent():
    async with usdm() as it:
        for path in ("/market/ws/btcusdt@trade", "/public/ws/btcusdt@aggTrade"):
            async with it.ws(path) as socket:
                with pytest.raises(TimeoutError):
                    await read(socket, lambda seen: bool(seen), timeout_s=0.5)
        with pytest.raises(Exception, match="404"):
            await it.ws("/stream?streams=btcusdt@trade")


async def test_spot_and_usdm_share_a_port_and_are_markets_of_their_own():
    async with venue("BINANCE", ("SPOT", "USDM")) as it:
        async with it.ws("/ws/btcusdt@trade") as spot, it.ws("/public/ws/btcusdt@trade") as usdm:
            ours = await read(spot, lambda seen: len(seen) >= 20)
            theirs = await read(usdm, lambda seen: len(seen) >= 20)
        assert {trade.get("X") for trade in ours} == {None}
        assert {trade["X"] for trade in theirs} == {"MARKET"}
        for product, trades in (("SPOT", ours), ("USDM", theirs)):
            query = {"symbol": "BTCUSDT", "product": product, "from_id": trades[0]["t"]}
            rows = await it.answer("/sim/trades", limit=20, **query)
            assert [(row[0], Decimal(row[1]), Decimal(row[2]), row[4]) for row in rows] == [
                (trade["t"], Decimal(trade["p"]), Decimal(trade["q"]), trade["m"])
                for trade in trades[:20]
            ]
    assert [trade["p"] for trade in ours] != [trade["p"] for trade in theirs]


async def test_liquidations_are_trades_of_the_record_and_the_mark_follows_the_index():
    path = "/market/stream?streams=!forceOrder@arr/btcusdt@forceOrder/btcusdt@markPrice@1s"
    async with usdm(rate=2_000.0, liquidations=0.01) as it, it.ws(path) as socket:
        seen = await read(socket, some("btcusdt@forceOrder", 2))
        orders = of(seen, "btcusdt@forceOrder")
        assert orders[0] in of(seen, "!forceOrder@arr")
        rows = await it.answer("/sim/trades", symbol="BTCUSDT", limit=100_000)
        interest = await it.answer("/fapi/v1/openInterest", symbol="BTCUSDT")
        premium = await it.answer("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    for order in orders:
        it_was = order["o"]
        sold = it_was["S"] == "SELL"
        at_that_time = [r for r in rows if r[3] // 1_000 == it_was["T"] and r[4] == sold]
        assert sum(Decimal(row[2]) for row in at_that_time) >= Decimal(it_was["z"])
        assert Decimal(it_was["p"]) in {Decimal(row[1]) for row in at_that_time}
    mark = of(seen, "btcusdt@markPrice@1s")[-1]
    assert abs(Decimal(mark["p"]) / Decimal(mark["i"]) - 1) < Decimal("0.005")
    assert abs(Decimal(mark["r"])) <= Decimal("0.0075")
    assert mark["T"] % 28_800_000 == 0 and 0 < mark["T"] - mark["E"] <= 28_800_000
    assert Decimal(interest["openInterest"]) > 0
    assert premium["nextFundingTime"] == mark["T"]


async def test_historical_trades_want_a_key_and_recent_ones_do_not():
    async with usdm() as it, it.ws("/public/ws/btcusdt@trade") as socket:
        seen = await read(socket, lambda seen: len(seen) >= 30)
        recent = await it.answer("/fapi/v1/trades", symbol="BTCUSDT", limit=1000)
        query = {"symbol": "BTCUSDT", "fromId": seen[0]["t"], "limit": 5}
        refused = await it.http.get("/fapi/v1/historicalTrades", params=query)
        key = {"X-MBX-APIKEY": "any"}
        old = await it.http.get("/fapi/v1/historicalTrades", params=query, headers=key)
    by_id = {trade["id"]: trade for trade in recent}
    assert all(by_id[trade["t"]]["qty"] == trade["q"] for trade in seen)
    assert refused.status_code == 401 and refused.json()["code"] == -2014
    assert [trade["id"] for trade in old.json()] == [trade["t"] for trade in seen[:5]]


async def test_a_halt_a_delisting_and_a_listing_are_said():
    async with usdm() as it, it.ws("/market/ws/!contractInfo") as socket:
        await it.fault(kind="halt", symbol="BTCUSDT")
        await it.fault(kind="list", symbol="SOLUSDT")
        await it.fault(kind="delist", symbol="ETHUSDT")
        said = await read(socket, lambda seen: len(seen) >= 3)
        info = await it.answer("/fapi/v1/exchangeInfo")
        async with it.ws("/public/ws/btcusdt@trade") as halted:
            with pytest.raises(TimeoutError):
                await read(halted, lambda seen: bool(seen), timeout_s=0.3)
            await it.fault(kind="resume", symbol="BTCUSDT")
            await read(halted, lambda seen: len(seen) >= 3)
        async with it.ws("/public/ws/solusdt@trade") as fresh:
            first = (await read(fresh, lambda seen: bool(seen)))[0]
    assert [(one["s"], one["cs"]) for one in said] == [
        ("BTCUSDT", "PENDING_TRADING"),
        ("SOLUSDT", "TRADING"),
        ("ETHUSDT", "SETTLING"),
    ]
    assert {one["symbol"]: one["status"] for one in info["symbols"]} == {
        "BTCUSDT": "PENDING_TRADING",
        "SOLUSDT": "TRADING",
    }
    assert first["s"] == "SOLUSDT"


# against what Binance publishes and sends


@pytest.mark.parametrize(
    ("stream", "path", "fixture"),
    [
        ("btcusdt@aggTrade", REST, "agg_trade_stream"),
        ("btcusdt@bookTicker", FREQUENT, "book_ticker_stream"),
        ("btcusdt@depth@100ms", FREQUENT, "depth_update_stream"),
        ("btcusdt@kline_1m", REST, "kline_stream_open"),
        ("btcusdt@markPrice@1s", REST, "mark_price_stream"),
        (
            "btcusdt@forceOrder",
            "/market/stream?streams=btcusdt@forceOrder",
            "liquidation_stream",
        ),
    ],
)
async def test_messages_have_the_fields_of_the_published_ones(stream: str, path: str, fixture: str):
    real = published("binance", f"{FOLDER}/{fixture}.json")
    async with usdm(rate=2_000.0, liquidations=0.01) as it, it.ws(path) as socket:
        seen = await read(socket, lambda seen: any(_whole(data) for data in of(seen, stream)))
    ours = next(data for data in of(seen, stream) if _whole(data))
    assert fields(ours, "") == fields(real, "")


def _whole(data: Any) -> bool:
    """Whether a depth update has both sides; anything else is."""
    return bool(data.get("b", 1)) and bool(data.get("a", 1))


async def test_trades_and_snapshots_have_the_fields_and_formats_of_captured_ones():
    path = DATA / "binance_captures_hftbacktest/usdm/btcusdt_20240808.gz"
    if not path.exists():
        pytest.skip(f"no captures at {path}: set TIDEMILL_DATA")
    with gzip.open(path, "rt") as lines:
        messages = [
            json.loads(line.split(" ", 1)[1]) for line, _ in zip(lines, range(400), strict=False)
        ]
    trade = next(m["data"] for m in messages if m.get("stream") == "btcusdt@trade")
    snapshot = next(m for m in messages if "lastUpdateId" in m)
    async with usdm() as it, it.ws(FREQUENT) as socket:
        seen = await read(socket, some("btcusdt@trade", 1))
        ours = await it.answer("/fapi/v1/depth", symbol="BTCUSDT", limit=5)
    assert list(of(seen, "btcusdt@trade")[0]) == list(trade)
    assert fields(of(seen, "btcusdt@trade")[0], "") == fields(trade, "")
    assert fields(ours, "") == fields(snapshot, "")
    for text, real in ((ours["bids"][0][0], snapshot["bids"][0][0]), (ours["bids"][0][1], "2.909")):
        assert len(text.partition(".")[2]) == len(real.partition(".")[2])


async def test_exchange_info_has_the_fields_of_a_captured_one():
    path = DATA / "captures_cryptofeed/BINANCE_FUTURES.0.gz"
    if not path.exists():
        pytest.skip(f"no captures at {path}: set TIDEMILL_DATA")
    with gzip.open(path, "rt") as lines:
        text = next(line for line in lines if "/exchangeInfo -> " in line)
    real = json.loads(text.split(": ", 1)[1])
    async with usdm() as it:
        ours = await it.answer("/fapi/v1/exchangeInfo")
    assert fields(ours, "") == fields(real, "")
