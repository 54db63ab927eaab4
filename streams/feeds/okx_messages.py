"""OKX's messages and answers, read into columns: the reading half of the venue file."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tidemill.schemas.enums import AggressorSide, OrderSide, RecordFlag
from tidemill.schemas.errors import Unreadable
from tidemill.streams.feeds.columns import WRONG, Columns
from tidemill.streams.feeds.feed import UNCHAINED, Instrument, Malformed, Page
from tidemill.streams.feeds.okx_instruments import defined, listing_path, product_of
from tidemill.streams.feeds.rare_columns import FUNDING_EXPONENT
from tidemill.streams.feeds.rounding import rounded

TAKERS = {"buy": int(AggressorSide.BUYER), "sell": int(AggressorSide.SELLER)}
SIDES = {"buy": int(OrderSide.BUY), "sell": int(OrderSide.SELL)}
SNAPSHOT = {"snapshot": True, "update": False}
FILLED, AGGREGATE = int(RecordFlag.FILLED), int(RecordFlag.AGGREGATE)
SOURCES = {None: 0, "0": 0, "1": int(RecordFlag.RPI)}
"""Flags by a trade's ``source``, which older messages lack."""
MINUTE_S = 60
SERVICE_UPGRADE = "64008"
UNPROVEN = (
    "funding-rate", "mark-price", "index-tickers", "open-interest", "liquidation-orders",
    "instruments",
)  # fmt: skip
"""Channels that an instrument may not have (an index): refusing one does not refuse the others."""

Rows = Any
"""What a message carries as ``data``, as JSON has it."""


class Reader:
    """Reads messages of one `product`; those of another are ignored."""

    def __init__(self, product: str) -> None:
        self._product = product
        self._channels: dict[str, Callable[[Columns, int, Any, Rows], None]] = {
            "trades-all": self._trades,
            "books": self._books,
            "bbo-tbt": self._best,
            "trades": self._aggregates,
            "tickers": self._tickers,
            "candle1m": self._bars,
            "funding-rate": self._funding,
            "mark-price": self._mark,
            "index-tickers": self._index,
            "open-interest": self._open_interest,
            "liquidation-orders": self._liquidations,
            "instruments": self._instruments,
        }
        self._answers: dict[str, Callable[[Columns, int, Any, Rows], None]] = {
            "market/history-trades": self._fetched,
            "market/trades": self._fetched,
            "market/candles": self._bars,
            "market/history-candles": self._bars,
            "market/books": self._snapshot,
            "market/index-tickers": self._index,
            "public/funding-rate": self._funding,
            "public/mark-price": self._mark,
            "public/open-interest": self._open_interest,
            "public/instruments": self._listing,
            "public/time": _clock,
        }

    def read(self, columns: Columns, at: int, message: Any) -> None:
        """Read one message received at `at` (ns)."""
        argument, data = message.get("arg"), message.get("data")
        if argument is not None and data is not None:
            reader = self._channels.get(argument["channel"])
            if reader is None:
                columns.rest.ignored += 1
            else:
                reader(columns, at, message, data)
        elif "event" in message:
            _event(columns, message)
        elif str(message.get("stream", "")).startswith("rest:"):
            self._answer(columns, at, message["stream"].removeprefix("rest:"), data)
        else:
            raise Unreadable("it is no message of this venue that is known")

    def _answer(self, columns: Columns, at: int, path: str, body: Any) -> None:
        """A REST answer; its query takes the place of a channel's argument."""
        if body["code"] != "0":
            columns.rest.refused.append(f"{path}: {body['code']} {body['msg']}")
            return
        url = urlsplit(path)
        reader = self._answers.get(url.path.removeprefix("/api/v5/"))
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if reader is None or query.get("bar", "1m") != "1m":
            columns.rest.ignored += 1
        else:
            reader(columns, at, {"arg": query}, body["data"])

    def _instrument(self, columns: Columns, raw: str) -> Instrument | None:
        """The instrument of an id; None for another product's, or one that is not wanted."""
        instruments = columns.instruments
        known = instruments.by_raw.get(raw)
        if known is None and product_of(raw) == self._product and instruments.wants(raw):
            known = instruments.of(raw)
        if known is None:
            columns.rest.ignored += 1
        return known

    # trades

    def _trades(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """``trades-all``: one trade a record."""
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is not None:
            rows = [_trade(instrument.index, at, trade, 0) for trade in data]
            _append(columns, rows, None)
            columns.clocks += [(row[5], at) for row in rows]

    def _fetched(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """Trades that REST answered, the newest first."""
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is not None:
            rows = [_trade(instrument.index, at, trade, FILLED) for trade in reversed(data)]
            _append(columns, rows, None)

    def _aggregates(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """``trades``: each stands for the `count` ids up to its own; 1 before there was a count."""
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is None:
            return
        counts = [int(trade.get("count", "1")) for trade in data]
        if min(counts, default=1) < 1:
            raise Unreadable("a trade aggregates no trade")
        rows = [
            _trade(instrument.index, at, trade, AGGREGATE if count > 1 else 0)
            for trade, count in zip(data, counts, strict=True)
        ]
        firsts = [row[2] - count + 1 for row, count in zip(rows, counts, strict=True)]
        _append(columns, rows, firsts)
        columns.clocks += [(row[5], at) for row in rows]

    # books, quotes and bars

    def _books(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is not None:
            snapshot = SNAPSHOT[message["action"]]
            rows = [_book(instrument.index, at, book, snapshot) for book in data]
            columns.books += rows
            columns.clocks += [(row[2], at) for row in rows]

    def _snapshot(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """A book that REST answered; without its id, as before 2026, it cannot be placed."""
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is None:
            return
        placed = [book for book in data if "seqId" in book]
        columns.rest.ignored += len(data) - len(placed)
        columns.books += [
            (
                instrument.index, at, int(book["ts"]), book["seqId"], book["seqId"], -1,
                book["bids"], book["asks"], True, True, None,
            )
            for book in placed
        ]  # fmt: skip

    def _best(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """``bbo-tbt``: one level of each side, or none."""
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is not None:
            rows = [
                (
                    instrument.index, at, best["seqId"], *_level(best["bids"]),
                    *_level(best["asks"]), int(best["ts"]),
                )
                for best in data
            ]  # fmt: skip
            columns.quotes += rows
            columns.clocks += [(row[7], at) for row in rows]

    def _tickers(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is not None:
            columns.quotes += [
                (
                    instrument.index, at, int(t["ts"]), t["bidPx"] or "0", t["bidSz"] or "0",
                    t["askPx"] or "0", t["askSz"] or "0", int(t["ts"]),
                )
                for t in data
            ]  # fmt: skip

    def _bars(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """Closed 1-minute bars. OKX does not say when it sent one: it is taken as its end."""
        instrument = self._instrument(columns, message["arg"]["instId"])
        if instrument is None:
            return
        closed = sorted((row for row in data if row[8] == "1"), key=lambda row: int(row[0]))
        columns.rest.ignored += len(data) - len(closed)
        columns.venue_bars += [
            (
                instrument.index, at, int(opened) + MINUTE_S * 1000, int(opened), MINUTE_S,
                *prices, volume, quote_volume if self._product == "SPOT" else None, None,
            )
            for opened, *prices, volume, _, quote_volume, _ in closed
        ]  # fmt: skip

    # derivatives

    def _funding(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        rows = []
        for row in data:
            instrument = self._instrument(columns, row["instId"])
            if instrument is not None:
                paid, following = int(row["fundingTime"]), row.get("nextFundingTime")
                interval_s = (int(following) - paid) // 1000 if following else None
                rate = rounded(row["fundingRate"], FUNDING_EXPONENT)
                values = (None, None, rate, paid, interval_s, None)
                rows.append((instrument.index, at, int(row["ts"]), *values))
        columns.derivatives += rows

    def _mark(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        rows = []
        for row in data:
            instrument = self._instrument(columns, row["instId"])
            if instrument is not None:
                price = rounded(row["markPx"], instrument.exponents[0])
                values = (price, None, None, None, None, None)
                rows.append((instrument.index, at, int(row["ts"]), *values))
        columns.derivatives += rows

    def _index(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """``index-tickers``: the index BTC-USDT is that of the swap BTC-USDT-SWAP."""
        rows = []
        for row in data:
            instrument = self._instrument(columns, f"{row['instId']}-SWAP")
            if instrument is not None:
                price = rounded(row["idxPx"], instrument.exponents[0])
                values = (None, price, None, None, None, None)
                rows.append((instrument.index, at, int(row["ts"]), *values))
        columns.derivatives += rows

    def _open_interest(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        rows = []
        for row in data:
            instrument = self._instrument(columns, row["instId"])
            if instrument is not None:
                contracts = rounded(row["oi"], instrument.exponents[1])
                values = (None, None, None, None, None, contracts)
                rows.append((instrument.index, at, int(row["ts"]), *values))
        columns.derivatives += rows

    def _liquidations(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        rows: list[tuple[Any, ...]] = []
        for row in data:
            instrument = self._instrument(columns, row["instId"])
            if instrument is not None:
                rows += [
                    (
                        instrument.index, at, int(one["ts"]), one["bkPx"], None, one["sz"], None,
                        SIDES[one["side"]],
                    )
                    for one in row["details"]
                ]  # fmt: skip
        columns.liquidations += rows

    # instruments

    def _instruments(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """Define those that are wanted; one that is not understood spares the others."""
        for entry in data:
            if entry["instType"] != self._product or not columns.instruments.wants(entry["instId"]):
                continue
            try:
                columns.instruments.define(defined(entry))
            except (*WRONG, ArithmeticError) as error:
                reason = f"{type(error).__name__}: {error}"
                columns.rest.malformed.append(Malformed(at, orjson.dumps(entry), reason))

    def _listing(self, columns: Columns, at: int, message: Any, data: Rows) -> None:
        """All instruments of a type: of another product's list nothing is ours."""
        names = frozenset(entry["instId"] for entry in data)
        self._instruments(columns, at, message, data)
        if message["arg"] == {"instType": self._product}:
            columns.rest.listed.append(Page(listing_path(self._product), names))


def _trade(index: int, at: int, trade: Any, flags: int) -> tuple[Any, ...]:
    """A row of `Columns.trades`."""
    return (
        index, at, int(trade["tradeId"]), trade["px"], trade["sz"], int(trade["ts"]),
        TAKERS[trade["side"]], flags | SOURCES.get(trade.get("source"), 0),
    )  # fmt: skip


def _append(columns: Columns, rows: list[tuple[Any, ...]], firsts: list[int] | None) -> None:
    """Append trades. First ids are kept for all of a run once one of its trades is a range."""
    if firsts is not None:
        columns.firsts += [row[2] for row in columns.trades[len(columns.firsts) :]]
    elif columns.firsts:
        firsts = [row[2] for row in rows]
    columns.trades += rows
    columns.firsts += firsts or ()


def _book(index: int, at: int, book: Any, snapshot: bool) -> tuple[Any, ...]:
    """A row of `Columns.books`. First is the id after the predecessor's, unless ids fell."""
    time, checksum = int(book["ts"]), book.get("checksum") or None
    if "seqId" not in book:
        if checksum is None:
            raise Unreadable("a book message has neither ids nor a checksum")
        first, last, previous = time, time, -1 if snapshot else UNCHAINED
    else:
        last, previous = book["seqId"], book["prevSeqId"]
        if snapshot != (previous == -1):
            raise Unreadable("only snapshots have no predecessor")
        if last == previous and (book["bids"] or book["asks"]):
            raise Unreadable("a book message with changes has its predecessor's id")
        first = last if snapshot else min(previous + 1, last)
    return (
        index, at, time, first, last, previous, book["bids"], book["asks"], snapshot, False,
        checksum,
    )  # fmt: skip


def _level(levels: Any) -> tuple[str, str]:
    """Price and quantity of the best level of a side; zeros without one."""
    return (levels[0][0], levels[0][1]) if levels else ("0", "0")


def _clock(columns: Columns, at: int, message: Any, data: Rows) -> None:
    columns.clocks += [(int(row["ts"]), at) for row in data]


def _event(columns: Columns, message: Any) -> None:
    """What a connection says of itself and of commands."""
    rest, event = columns.rest, message["event"]
    if event in ("subscribe", "unsubscribe"):
        if message.get("id"):
            rest.acknowledged.append(int(message["id"]))
    elif event == "error":
        rest.refused.append(f"{message['code']} {message['msg']}")
        if message.get("id") and any(f"channel:{name}," in message["msg"] for name in UNPROVEN):
            rest.acknowledged.append(int(message["id"]))
    elif event == "notice":
        rest.shutdown |= message["code"] == SERVICE_UPGRADE
    else:
        rest.ignored += 1
