"""The simulated exchange as a client of Binance meets it, over real sockets on loopback."""

import asyncio
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from tidemill.deploy.exchange.limits import Limits
from tidemill.tests.deploy.simulated_exchange import DATA, fields, published, read, venue

pytestmark = pytest.mark.integration

ALL = "/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@aggTrade"


def of(messages: list[Any], stream: str) -> list[Any]:
    return [message["data"] for message in messages if message["stream"] == stream]


def count(number: int) -> Callable[[list[Any]], bool]:
    return lambda seen: len(seen) >= number


# --- streams ---------------------------------------------------------------------------------


async def test_a_raw_stream_carries_trades_with_contiguous_ids():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        trades = await read(socket, count(60))
    assert [trade["t"] for trade in trades] == list(
        range(trades[0]["t"], trades[0]["t"] + len(trades))
    )
    assert all(trade["e"] == "trade" and trade["s"] == "BTCUSDT" for trade in trades)
    times = [trade["T"] for trade in trades]
    assert times == sorted(times) and len(str(times[0])) == 13


async def test_a_combined_stream_names_each_message_and_aggregates_match_the_trades():
    async with venue() as it, it.ws(ALL) as socket:
        seen = await read(socket, lambda seen: len(of(seen, "btcusdt@aggTrade")) >= 30)
    trades = {trade["t"]: trade for trade in of(seen, "btcusdt@trade")}
    for aggregate in of(seen, "btcusdt@aggTrade"):
        parts = [trades[i] for i in range(aggregate["f"], aggregate["l"] + 1)]
        assert sum(Decimal(part["q"]) for part in parts) == Decimal(aggregate["q"])
        assert {(part["p"], part["m"]) for part in parts} == {(aggregate["p"], aggregate["m"])}
    ids = [aggregate["a"] for aggregate in of(seen, "btcusdt@aggTrade")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_snapshot_and_diffs_rebuild_the_book_that_book_ticker_shows():
    """Binance's "How to manage a local order book correctly", literally."""
    async with venue() as it, it.ws(ALL) as socket:
        buffered = await read(socket, lambda seen: len(of(seen, "btcusdt@depth@100ms")) >= 2)
        snapshot = (await it.get("depth", symbol="BTCUSDT", limit=5000)).json()
        last = snapshot["lastUpdateId"]
        seen = buffered + await read(
            socket, lambda seen: len(of(seen, "btcusdt@depth@100ms")) >= 15
        )
    book = {side: {Decimal(p): Decimal(q) for p, q in snapshot[side]} for side in ("bids", "asks")}
    tickers = {ticker["u"]: ticker for ticker in of(seen, "btcusdt@bookTicker")}
    diffs = [diff for diff in of(seen, "btcusdt@depth@100ms") if diff["u"] > last]
    assert diffs[0]["U"] <= last + 1 <= diffs[0]["u"] + 1
    compared = 0
    for diff in diffs:
        assert diff["U"] <= last + 1
        assert diff["U"] == last + 1 or diff is diffs[0]
        last = diff["u"]
        for side, changes in (("bids", diff["b"]), ("asks", diff["a"])):
            for price, qty in changes:
                book[side][Decimal(price)] = Decimal(qty)
                if not Decimal(qty):
                    del book[side][Decimal(price)]
        shown = [ticker for u, ticker in tickers.items() if u <= last]
        ticker = max(shown, key=lambda ticker: ticker["u"])
        bid, ask = max(book["bids"]), min(book["asks"])
        assert (Decimal(ticker["b"]), Decimal(ticker["B"])) == (bid, book["bids"][bid])
        assert (Decimal(ticker["a"]), Decimal(ticker["A"])) == (ask, book["asks"][ask])
        compared += 1
    assert compared >= 10


async def test_slow_depth_partial_depth_and_klines_come_every_second():
    streams = "btcusdt@depth/btcusdt@depth5/btcusdt@depth20@100ms/btcusdt@kline_1s"
    async with venue() as it, it.ws(f"/stream?streams={streams}") as socket:
        seen = await read(
            socket,
            lambda seen: (
                len(of(seen, "btcusdt@depth")) >= 3 and len(of(seen, "btcusdt@kline_1s")) >= 5
            ),
        )
    slow = of(seen, "btcusdt@depth")
    assert all(two["U"] == one["u"] + 1 for one, two in pairwise(slow))
    assert {len(book["bids"]) for book in of(seen, "btcusdt@depth5")} == {5}
    assert {len(book["asks"]) for book in of(seen, "btcusdt@depth20@100ms")} == {20}
    assert len(of(seen, "btcusdt@depth20@100ms")) > 2 * len(of(seen, "btcusdt@depth5"))
    closed = [message["k"] for message in of(seen, "btcusdt@kline_1s") if message["k"]["x"]]
    assert len(closed) >= 2
    assert closed[1]["t"] == closed[0]["t"] + 1_000 == closed[0]["T"] + 1
    assert closed[1]["f"] == closed[0]["L"] + 1


async def test_microseconds_on_request():
    async with venue() as it:
        async with it.ws("/ws/btcusdt@trade?timeUnit=microsecond") as socket:
            trade = (await read(socket, count(1)))[0]
        assert len(str(trade["T"])) == len(str(trade["E"])) == 16
        header = {"X-MBX-TIME-UNIT": "MICROSECOND"}
        answer = await it.http.get("/api/v3/time", headers=header)
        assert len(str(answer.json()["serverTime"])) == 16
        bad = await it.http.get("/api/v3/time", headers={"X-MBX-TIME-UNIT": "HOURS"})
        assert bad.status_code == 400


# --- subscriptions ---------------------------------------------------------------------------


async def ask(socket: ClientConnection, request: Any) -> Any:
    """The answer to a request, past any stream messages."""
    await socket.send(request if isinstance(request, str) else json.dumps(request))
    async with asyncio.timeout(5):
        while True:
            message = json.loads(await socket.recv())
            if "stream" not in message and "e" not in message and "u" not in message:
                return message


async def test_live_subscriptions_begin_end_and_are_listed():
    async with venue() as it, it.ws("/ws") as socket:
        names = ["btcusdt@trade", "ethusdt@bookTicker"]
        assert await ask(socket, {"method": "SUBSCRIBE", "params": names, "id": 1}) == {
            "result": None,
            "id": 1,
        }
        seen = await read(socket, count(40))
        assert {message["s"] for message in seen} == {"BTCUSDT", "ETHUSDT"}
        listed = await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": "abc3"})
        assert listed == {"result": names, "id": "abc3"}
        await ask(socket, {"method": "UNSUBSCRIBE", "params": names[:1], "id": None})
        after = await read(socket, count(30))
        assert {message["s"] for message in after} == {"ETHUSDT"}


async def test_the_property_combined_wraps_raw_messages():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        assert (await ask(socket, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1}))[
            "result"
        ] is False
        request = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2}
        assert await ask(socket, request) == {"result": None, "id": 2}
        assert (await read(socket, count(1)))[0]["stream"] == "btcusdt@trade"


@pytest.mark.parametrize(
    ("request_text", "code", "words"),
    [
        ("{nonsense", 3, "Invalid JSON: expected value at line 1 column"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"SUB","id":1}', 2, "unknown variant `SUB`, expected one of `SUBSCRIBE`"),
        ('{"method":"SUBSCRIBE","params":["a"]}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","params":["a"],"id":1.5}', 2, "request ID must be"),
        ('{"method":"SUBSCRIBE","params":["a"],"id":"a b"}', 2, "request ID must be"),
        ('{"method":"GET_PROPERTY","params":["speed"],"id":1}', 0, "Unknown property"),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2, "property name must be a string"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "expected Boolean"),
        ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":1}', 2, "too many param"),
    ],
)
async def test_a_bad_request_gets_binances_error(request_text: str, code: int, words: str):
    async with venue() as it, it.ws("/ws") as socket:
        answer = await ask(socket, request_text)
    assert answer["code"] == code
    assert words in answer["msg"]


async def test_a_stream_that_does_not_exist_is_accepted_and_silent():
    async with venue() as it, it.ws("/ws/nothere@trade") as socket:
        with pytest.raises(TimeoutError):
            await read(socket, count(1), timeout_s=0.3)


async def test_more_than_1024_streams_are_refused():
    names = [f"s{i}@trade" for i in range(1_025)]
    async with venue() as it, it.ws("/ws") as socket:
        request = {"method": "SUBSCRIBE", "params": names, "id": 1}
        assert (await ask(socket, request))["code"] == 2
        request["params"] = names[:1_024]
        assert (await ask(socket, request))["result"] is None


async def test_a_sixth_message_within_a_second_disconnects():
    async with venue() as it, it.ws("/ws") as socket:
        for i in range(6):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": i}))
        with pytest.raises(ConnectionClosedError) as closed:
            await read(socket, count(7))
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


async def test_a_flood_of_pings_disconnects_too():
    async with venue() as it, it.ws("/ws") as socket:
        for _ in range(7):
            await socket.ping()
        await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
        with pytest.raises(ConnectionClosedError):
            await read(socket, count(2))


# --- connections that end --------------------------------------------------------------------


async def test_without_a_pong_the_connection_ends():
    limits = Limits(ping_interval_s=0.1, pong_timeout_s=0.3)
    async with venue(limits=limits) as it, it.ws("/ws/btcusdt@trade") as socket:
        await read(socket, count(40))  # this client answers pings: it stays
        reader, writer = await asyncio.open_connection(*it.address.split(":"))
        writer.write(
            b"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(3):
            received = await reader.read(-1)  # to the end of the connection
        writer.close()
        assert received.startswith(b"HTTP/1.1 101")
        assert b"keepalive ping timeout" in received
        await read(socket, count(1))


async def test_a_connection_ends_at_its_age():
    limits = Limits(connection_age_max_s=0.3)
    async with venue(limits=limits) as it, it.ws("/ws/btcusdt@trade") as socket:
        with pytest.raises(ConnectionClosed):
            await read(socket, count(10**6), timeout_s=5)
        assert not list(it.exchange.sessions)


async def test_a_client_that_does_not_read_is_disconnected_and_the_others_are_not():
    limits = Limits(buffer_bytes_max=200_000)
    async with venue(rate=20_000.0, limits=limits) as it:
        path = "/stream?streams=btcusdt@bookTicker/btcusdt@trade"
        lazy = await it.ws(path, max_queue=1)
        async with it.ws(path, max_queue=None) as eager, asyncio.timeout(20):
            while len(list(it.exchange.sessions)) == 2:
                await eager.recv()
            await read(eager, count(1_000))
        lazy.transport.abort()


async def test_at_full_speed_the_client_sets_the_pace_and_misses_nothing():
    async with venue(rate=None) as it:
        await asyncio.sleep(0.1)
        assert it.exchange.markets["SPOT", "BTCUSDT"].events == 0  # nobody listens
        async with it.ws("/ws/btcusdt@trade") as socket:
            seen = await read(socket, count(5_000))
    assert [trade["t"] for trade in seen] == list(range(1, len(seen) + 1))


# --- faults ----------------------------------------------------------------------------------


async def test_dropped_trades_are_missing_on_the_socket_and_present_on_rest():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        before = await read(socket, count(5))
        await it.fault(kind="drop", symbol="BTCUSDT", count=4)
        seen = before + await read(socket, count(60))
        ids = [trade["t"] for trade in seen]
        missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
        assert len(missing) == 4 and missing == list(range(missing[0], missing[0] + 4))
        query = {"symbol": "BTCUSDT", "fromId": missing[0], "limit": 4}
        rest = (await it.get("historicalTrades", **query)).json()
    assert [trade["id"] for trade in rest] == missing


async def test_duplicated_trades_come_twice():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        await it.fault(kind="duplicate", symbol="BTCUSDT", count=3)
        ids = [trade["t"] for trade in await read(socket, count(60))]
    assert sum(one == two for one, two in pairwise(ids)) == 3
    assert sorted(set(ids)) == list(range(ids[0], ids[-1] + 1))


async def test_cut_resets_every_connection_and_a_new_one_goes_on():
    async with venue() as it:
        async with it.ws("/ws/btcusdt@trade") as one, it.ws("/ws/ethusdt@trade") as two:
            last = (await read(one, count(5)))[-1]["t"]
            await it.fault(kind="cut")
            for socket in (one, two):
                with pytest.raises(ConnectionClosedError):
                    await read(socket, count(10**6))
        async with it.ws("/ws/btcusdt@trade") as again:
            assert (await read(again, count(1)))[0]["t"] > last


async def test_a_pause_delays_and_loses_nothing_and_a_mute_loses():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        ids = [trade["t"] for trade in await read(socket, count(5))]
        await it.fault(kind="pause", seconds=0.5)
        ids += [trade["t"] for trade in await read(socket, count(60))]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        await it.fault(kind="mute", seconds=0.5)
        ids += [trade["t"] for trade in await read(socket, count(60))]
        assert len(ids) < ids[-1] - ids[0] + 1


async def test_a_fault_that_is_not_known_is_refused():
    async with venue() as it:
        for query in ({"kind": "melt"}, {"kind": "drop", "symbol": "NOPE"}, {"kind": "cut?"}):
            answer = await it.http.post("/sim/faults", params=query)
            assert answer.status_code == 400
        assert (await it.http.post("/sim/other")).status_code == 404


# --- REST ------------------------------------------------------------------------------------


async def test_trades_on_rest_are_the_trades_of_the_stream():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        seen = await read(socket, count(50))
        query = {"symbol": "BTCUSDT", "fromId": seen[0]["t"], "limit": 50}
        rest = (await it.get("historicalTrades", **query)).json()
        recent = (await it.get("trades", symbol="BTCUSDT", limit=3)).json()
    for trade, other in zip(seen[:50], rest, strict=True):
        assert (trade["t"], trade["p"], trade["q"]) == (other["id"], other["price"], other["qty"])
        assert (trade["T"], trade["m"]) == (other["time"], other["isBuyerMaker"])
        assert Decimal(other["quoteQty"]) == Decimal(other["price"]) * Decimal(other["qty"])
    assert len(recent) == 3 and recent[-1]["id"] >= seen[-1]["t"]


async def test_aggregate_trades_by_id_by_time_and_latest():
    async with venue() as it, it.ws("/ws/btcusdt@aggTrade") as socket:
        seen = await read(socket, count(40))
        fields = [{k: v for k, v in trade.items() if k not in "eEs"} for trade in seen]
        by_id = await it.get("aggTrades", symbol="BTCUSDT", fromId=seen[5]["a"], limit=10)
        assert by_id.json() == fields[5:15]
        window = {"startTime": seen[0]["T"], "endTime": seen[20]["T"]}
        by_time = (await it.get("aggTrades", symbol="BTCUSDT", **window)).json()
        assert [trade for trade in by_time if trade["a"] >= seen[0]["a"]] == [
            trade for trade in fields if trade["T"] <= seen[20]["T"]
        ]
        latest = (await it.get("aggTrades", symbol="BTCUSDT", limit=2)).json()
        assert latest[0]["a"] + 1 == latest[1]["a"] >= seen[-1]["a"]
        both = await it.get("aggTrades", symbol="BTCUSDT", fromId=1, startTime=1)
        assert both.json()["code"] == -1128


async def test_klines_on_rest_equal_the_trades():
    async with venue() as it, it.ws("/ws/btcusdt@trade") as socket:
        trades = await read(socket, lambda seen: bool(seen) and seen[-1]["T"] > seen[0]["T"] + 3e3)
        klines = (await it.get("klines", symbol="BTCUSDT", interval="1s", limit=5)).json()
        minute = (await it.get("klines", symbol="BTCUSDT", interval="1m")).json()
    whole = [k for k in klines if trades[0]["T"] < k[0] and k[6] < trades[-1]["T"]]
    assert whole
    for kline in whole:
        mine = [trade for trade in trades if kline[0] <= trade["T"] <= kline[6]]
        prices = [Decimal(trade["p"]) for trade in mine]
        taken = [trade for trade in mine if not trade["m"]]
        assert [Decimal(value) for value in kline[1:6]] == [
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            sum(Decimal(trade["q"]) for trade in mine),
        ]
        assert kline[8] == len(mine)
        assert Decimal(kline[9]) == sum(Decimal(trade["q"]) for trade in taken)
        value = sum(Decimal(trade["p"]) * Decimal(trade["q"]) for trade in mine)
        assert Decimal(kline[7]) == value
    assert sum(kline[8] for kline in minute) >= len(trades)


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("depth", {}, -1102),
        ("depth", {"symbol": ""}, -1102),
        ("depth", {"symbol": "btcusdt"}, -1121),
        ("depth", {"symbol": "BTCUSDT", "limit": "x"}, -1100),
        ("depth", {"symbol": "BTCUSDT", "limit": "0"}, -1130),
        ("historicalTrades", {"symbol": "BTCUSDT", "fromId": "-1"}, -1100),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("exchangeInfo", {"symbol": "NOPE"}, -1121),
        ("exchangeInfo", {"symbols": "BTCUSDT"}, -1100),
        ("ticker/bookTicker", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
    ],
)
async def test_a_bad_query_gets_binances_error_code(path: str, query: dict[str, str], code: int):
    async with venue() as it:
        answer = await it.get(path, **query)
    assert answer.status_code == 400
    assert answer.json()["code"] == code


async def test_weights_are_counted_then_refused_then_banned_then_forgiven():
    limits = Limits(weight_max=300, refusals_max=3)
    async with venue(limits=limits) as it:
        # Away from the end of a minute, so that the count does not begin anew on its own.
        it.clock.offset_us = 5_000_000 - it.clock() % 60_000_000
        first = await it.get("ping")
        assert (first.status_code, first.headers["x-mbx-used-weight-1m"]) == (200, "1")
        big = await it.get("depth", symbol="BTCUSDT", limit=5_000)
        assert big.headers["X-MBX-USED-WEIGHT-1M"] == "251"
        statuses = [
            (await it.get("depth", symbol="BTCUSDT", limit=1_000)).status_code for _ in range(5)
        ]
        assert statuses == [429, 429, 429, 418, 418]
        banned = await it.get("ping")
        assert banned.status_code == 418
        assert banned.json()["code"] == -1003
        assert 0 < int(banned.headers["Retry-After"]) <= 121
        it.clock.offset_us += 121_000_000
        assert (await it.get("ping")).headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_too_many_connection_attempts_are_refused():
    async with venue(limits=Limits(connections_max=2)) as it, it.ws("/ws"), it.ws("/ws"):
        with pytest.raises(Exception, match="429"):
            await it.ws("/ws")


async def test_history_reaches_back_as_far_as_it_is_kept():
    async with venue(rate=3_000.0, kept=200) as it, it.ws("/ws/btcusdt@trade") as socket:
        await read(socket, count(500))
        rest = (await it.get("historicalTrades", symbol="BTCUSDT", fromId=0, limit=5)).json()
    assert rest[0]["id"] > 1
    assert [trade["id"] for trade in rest] == list(range(rest[0]["id"], rest[0]["id"] + 5))


# --- against what Binance really sends ---------------------------------------------------------


def shape(value: Any) -> Any:
    """Names in their order, and types; numbers in strings by how they are written."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, str) and value.replace(".", "").isdigit():
        return f"decimal.{len(value.split('.')[1]) if '.' in value else 0}"
    return type(value).__name__


def captured(stream: str) -> Any:
    """The first message of a stream in a capture of the real exchange."""
    path = DATA / "binance_captures_hftbacktest/spot/btcusdt_20240808.gz"
    if not path.exists():
        pytest.skip(f"no captures at {path}: set TIDEMILL_DATA")
    with gzip.open(path, "rt") as lines:
        for line in lines:
            message = json.loads(line.split(" ", 1)[1])
            if stream == "snapshot" and "lastUpdateId" in message:
                return message
            data = message.get("data", {})
            if message.get("stream") == stream and data.get("b", 1) and data.get("a", 1):
                return message
    raise AssertionError(f"no {stream} in the capture")


@pytest.mark.parametrize("stream", ["btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"])
async def test_messages_have_the_keys_order_and_formats_of_the_real_ones(stream: str):
    real = captured(stream)
    async with venue() as it, it.ws(ALL) as socket:
        seen = await read(
            socket,
            lambda seen: any(data.get("b", 1) and data.get("a", 1) for data in of(seen, stream)),
        )
    whole = [m for m in seen if m["data"].get("b", 1) and m["data"].get("a", 1)]
    ours = next(m for m in whole if m["stream"] == stream)
    assert shape(ours) == shape(real)


async def test_aggregates_and_klines_have_the_shape_of_real_ones():
    path = DATA / "captures_cryptofeed/BINANCE.ws.1.0.gz"
    if not path.exists():
        pytest.skip(f"no captures at {path}: set TIDEMILL_DATA")
    with gzip.open(path, "rt") as lines:
        texts = [line.split(": ", 1)[1] for line in lines if '"stream"' in line[:60]]
    real = {m["data"]["e"]: m["data"] for m in map(json.loads, texts) if "e" in m["data"]}
    streams = "btcusdt@aggTrade/btcusdt@kline_1s"
    async with venue() as it, it.ws(f"/stream?streams={streams}") as socket:
        seen = await read(socket, lambda seen: bool(of(seen, "btcusdt@kline_1s")) and len(seen) > 5)
    ours = {message["data"]["e"]: message["data"] for message in seen}
    ours["kline"]["k"]["x"] = real["kline"]["k"]["x"]
    for event in ("aggTrade", "kline"):
        assert shape(ours[event]) == shape(real[event]), event


@pytest.mark.parametrize(
    ("fixture", "path", "query"),
    [
        ("ping", "ping", {}),
        ("server_time", "time", {}),
        ("exchange_info", "exchangeInfo", {"symbol": "BTCUSDT"}),
        ("depth", "depth", {"symbol": "BTCUSDT", "limit": "1"}),
        ("trades", "trades", {"symbol": "BTCUSDT"}),
        ("klines", "klines", {"symbol": "BTCUSDT", "interval": "1m"}),
        ("book_ticker", "ticker/bookTicker", {"symbol": "BTCUSDT"}),
        ("ticker_price", "ticker/price", {"symbol": "BTCUSDT"}),
    ],
)
async def test_rest_answers_have_the_fields_of_the_published_ones(
    fixture: str, path: str, query: dict[str, str]
):
    folder = "crates/adapters/binance/test_data/spot/http_json"
    real = published("binance", f"{folder}/{fixture}_response.json")
    async with venue() as it:
        async with it.ws("/ws/btcusdt@trade") as socket:
            await read(socket, count(3))
        ours = (await it.get(path, **query)).json()
    assert fields(ours, "") == fields(real, "")
