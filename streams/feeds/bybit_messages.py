"""What Bybit's messages become: one reader a product, each topic and REST path by its rule."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tidemill.schemas.enums import AggressorSide, OrderSide, RecordFlag
from tidemill.schemas.errors import Unreadable
from tidemill.streams.feeds.bybit_instruments import INSTRUMENTS, definition, page_after, symbol_of
from tidemill.streams.feeds.columns import WRONG, Columns
from tidemill.streams.feeds.feed import Instrument, Malformed, Page
from tidemill.streams.feeds.rare_columns import FUNDING_EXPONENT
from tidemill.streams.feeds.rounding import rounded

TAKERS = {"Buy": int(AggressorSide.BUYER), "Sell": int(AggressorSide.SELLER)}
LIQUIDATED = {"Buy": int(OrderSide.SELL), "Sell": int(OrderSide.BUY)}
"""The side of the order that closes a position of this side."""
BLOCK, FILLED, RPI = int(RecordFlag.BLOCK), int(RecordFlag.FILLED), int(RecordFlag.RPI)
NOT_OURS = ("liquidation", "insurance", "adlAlert", "priceLimit")
"""Topics of Bybit that say nothing we take."""
MINUTE_S = 60
MASK = (1 << 64) - 1
UUID_CHARS = 36
PAGE_QUERY = {"category", "limit", "status", "cursor"}
"""What a request for a page of all instruments says; anything else asks for some of them."""

Said = Callable[[Columns, int, Any], None]


class Reader:
    """Reads the messages of one product's socket and REST."""

    def __init__(self, product: str) -> None:
        self._product = product
        self._topics: dict[str, Said] = {
            "publicTrade": _trades,
            "orderbook": _book,
            "kline": _klines,
            "tickers": _ignored if product == "SPOT" else _ticker,
            "allLiquidation": _liquidations,
            **dict.fromkeys(NOT_OURS, _ignored),
        }
        self._paths: dict[str, Callable[[Columns, int, Any, dict[str, list[str]]], None]] = {
            "/v5/market/recent-trade": _recent_trades,
            "/v5/market/kline": _past_klines,
            "/v5/market/time": _time,
        }

    def read(self, columns: Columns, at: int, message: Any) -> None:
        """Read one message, received at `at` (ns), into columns."""
        topic = message.get("topic")
        if topic is not None:
            said = self._topics.get(topic.partition(".")[0])
            if said is None:
                raise Unreadable(f"topic {topic!r} is not known")
            said(columns, at, message)
        elif "op" in message:
            _command(columns, message)
        elif str(message.get("stream", "")).startswith("rest:"):
            self._answer(columns, at, message["stream"].removeprefix("rest:"), message["data"])
        elif "retCode" in message and "lotSizeFilter" in _first(message):
            self._instruments(columns, at, message)
        else:
            raise Unreadable("it is no message of this venue that is known")

    def _answer(self, columns: Columns, at: int, path: str, body: Any) -> None:
        """A REST answer with the path that it answers."""
        url = urlsplit(path)
        if body["retCode"] != 0:
            columns.rest.refused.append(f"{path}: {body['retCode']} {body['retMsg']}")
        elif url.path == INSTRUMENTS:
            self._page(columns, at, path, body)
        elif (answer := self._paths.get(url.path)) is not None:
            answer(columns, at, body, parse_qs(url.query))
        else:
            raise Unreadable(f"{url.path} is not known")

    def _page(self, columns: Columns, at: int, path: str, body: Any) -> None:
        """Definitions of those of a status, a page of them, or of some that were asked for."""
        listed = self._instruments(columns, at, body)
        if parse_qs(urlsplit(path).query).keys() <= PAGE_QUERY:
            after = page_after(path, body["result"].get("nextPageCursor") or "")
            columns.rest.listed.append(Page(path, listed, after))

    def _instruments(self, columns: Columns, at: int, body: Any) -> frozenset[str]:
        """Definitions; return our names of all. One that is not understood spares the others."""
        entries = body["result"]["list"]
        listed = frozenset(symbol_of(self._product, entry["symbol"]) for entry in entries)
        for entry in entries:
            if not columns.instruments.wants(symbol_of(self._product, entry["symbol"])):
                continue
            try:
                columns.instruments.define(definition(self._product, entry))
            except WRONG as error:
                reason = f"{type(error).__name__}: {error}"
                columns.rest.malformed.append(Malformed(at, orjson.dumps(entry), reason))
        return listed


def _first(body: Any) -> Any:
    """The first entry of an answer that is a list."""
    entries = body["result"].get("list") or [{}]
    return entries[0]


def _instrument(columns: Columns, raw: str) -> Instrument:
    return columns.instruments.by_raw.get(raw) or columns.instruments.of(raw)


def _ignored(columns: Columns, at: int, message: Any) -> None:
    columns.rest.ignored += 1


def _command(columns: Columns, message: Any) -> None:
    """The answer to a command, or to a ping."""
    if message.get("success") is False or message.get("retCode", 0) != 0:
        columns.rest.refused.append(orjson.dumps(message).decode())
    elif message["op"] in ("subscribe", "unsubscribe"):
        if (command := message.get("req_id", "")).isdecimal():
            columns.rest.acknowledged.append(int(command))
    else:
        columns.rest.ignored += 1


def identity(trade_id: str) -> int:
    """64 bits that tell a trade from the others of its instrument: a number, or a UUID folded."""
    if len(trade_id) == UUID_CHARS:
        bits = int(trade_id.replace("-", ""), 16)
        return (bits >> 64) ^ (bits & MASK)
    if trade_id.isdecimal() and len(trade_id) < 20:
        return int(trade_id)
    return int.from_bytes(blake2b(trade_id.encode(), digest_size=8).digest())


def _trades(columns: Columns, at: int, message: Any) -> None:
    rows, identities, clock = [], [], message["ts"]
    for trade in message["data"]:
        index = _instrument(columns, trade["s"]).index
        rows.append(
            (
                index, at, trade.get("seq", 0), trade["p"], trade["v"], trade["T"],
                TAKERS[trade["S"]],
                (BLOCK if trade.get("BT") else 0) | (RPI if trade.get("RPI") else 0),
            )
        )  # fmt: skip
        identities.append(identity(trade["i"]))
    columns.clocks.append((clock, at))
    columns.trades += rows
    columns.identities += identities


def _recent_trades(columns: Columns, at: int, body: Any, query: dict[str, list[str]]) -> None:
    """The newest trades of one instrument, newest first."""
    rows, identities = [], []
    for trade in reversed(body["result"]["list"]):
        index = _instrument(columns, trade["symbol"]).index
        flags = FILLED | (BLOCK if trade.get("isBlockTrade") else 0)
        flags |= RPI if trade.get("isRPITrade") else 0
        rows.append(
            (
                index, at, int(trade.get("seq") or 0), trade["price"], trade["size"],
                int(trade["time"]), TAKERS[trade["side"]], flags,
            )
        )  # fmt: skip
        identities.append(identity(trade["execId"]))
    columns.trades += rows
    columns.identities += identities


def _book(columns: Columns, at: int, message: Any) -> None:
    """A snapshot, or what changed since the message before; of depth 1 a quote."""
    _, depth, raw = message["topic"].split(".", 2)
    if depth == "rpi":
        columns.rest.ignored += 1
        return
    data, clock = message["data"], message["ts"]
    update_id, bids, asks = data["u"], data["b"], data["a"]
    if data["s"] != raw:
        raise Unreadable(f"a book of {data['s']} in the topic of {raw}")
    index, time = _instrument(columns, raw).index, message.get("cts", clock)
    if message["type"] not in ("snapshot", "delta"):
        raise Unreadable(f"{message['type']!r} is neither a snapshot nor a delta")
    snapshot = message["type"] == "snapshot" or update_id == 1
    if depth != "1":
        previous = -1 if snapshot else update_id - 1
        columns.books.append(
            (index, at, time, update_id, update_id, previous, bids, asks, snapshot, False, None)
        )
    elif not snapshot:
        raise Unreadable("a change of orderbook.1, which sends snapshots only since 2025-03-20")
    else:
        best = [tuple(side[0]) if side else ("0", "0") for side in (bids, asks)]
        number = data.get("seq", update_id)
        columns.quotes.append((index, at, number, *best[0], *best[1], time))
    columns.clocks.append((clock, at))


def _klines(columns: Columns, at: int, message: Any) -> None:
    """Closed bars of a minute; the others are still growing, or longer."""
    raw, clock = message["topic"].split(".", 2)[2], message["ts"]
    instrument = _instrument(columns, raw)
    closed = [k for k in message["data"] if k["confirm"] is True and k["interval"] == "1"]
    columns.venue_bars += [
        _bar(instrument, at, clock, k["start"], k, (k["volume"], k["turnover"])) for k in closed
    ]
    columns.rest.ignored += not closed
    columns.clocks.append((clock, at))


def _past_klines(columns: Columns, at: int, body: Any, query: dict[str, list[str]]) -> None:
    """Bars of the past, newest first; the newest may not be closed yet."""
    instrument = _instrument(columns, body["result"]["symbol"])
    if query.get("interval") != ["1"]:
        columns.rest.ignored += 1
        return
    bars = []
    for start, opened, high, low, close, volume, turnover in reversed(body["result"]["list"]):
        if int(start) + MINUTE_S * 1000 <= body["time"]:
            prices = {"open": opened, "high": high, "low": low, "close": close}
            sums = volume, turnover
            bars.append(_bar(instrument, at, body["time"], int(start), prices, sums))
    columns.venue_bars += bars


def _bar(
    instrument: Instrument, at: int, time: int, start: int, prices: Any, sums: tuple[str, str]
) -> tuple[Any, ...]:
    each = (prices[name] for name in ("open", "high", "low", "close"))
    volume, turnover = sums
    quote_volume = rounded(turnover, sum(instrument.exponents))
    return instrument.index, at, time, start, MINUTE_S, *each, volume, quote_volume, None


def _ticker(columns: Columns, at: int, message: Any) -> None:
    """What changed of a contract's values; an empty one is none, as a future's funding."""
    data, clock = message["data"], message["ts"]
    instrument = _instrument(columns, data["symbol"])
    place, _ = instrument.exponents
    hours, funding = data.get("fundingIntervalHour"), data.get("nextFundingTime")
    values = (
        _rounded(data.get("markPrice"), place),
        _rounded(data.get("indexPrice"), place),
        _rounded(data.get("fundingRate"), FUNDING_EXPONENT),
        int(funding) if funding and funding != "0" else None,
        int(hours) * 3600 if hours else None,
        data.get("openInterest") or None,
    )
    if any(value is not None for value in values):
        columns.derivatives.append((instrument.index, at, clock, *values))
    else:
        columns.rest.ignored += 1
    columns.clocks.append((clock, at))


def _rounded(text: str | None, exponent: int) -> str | None:
    return rounded(text, exponent) if text else None


def _liquidations(columns: Columns, at: int, message: Any) -> None:
    data, clock = message["data"], message["ts"]
    columns.liquidations += [
        (
            _instrument(columns, one["s"]).index, at, one["T"], one["p"], None, one["v"], one["v"],
            LIQUIDATED[one["S"]],
        )
        for one in (data if isinstance(data, list) else [data])
    ]  # fmt: skip
    columns.clocks.append((clock, at))


def _time(columns: Columns, at: int, body: Any, query: dict[str, list[str]]) -> None:
    columns.clocks.append((body["time"], at))
