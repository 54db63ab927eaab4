"""From JSON values to records: what venue files read, message by message, made into arrays at once.

A venue file reads one message and appends plain tuples, one a record or book message, to the lists
of a `Columns`; nothing is parsed there. `decode_run` turns them into records: numbers exactly, at
each instrument's exponents, in one numba call a column. A run with a value that is no number is
decoded again message by message, so that one bad message costs only itself.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tidemill.schemas.decimals import mantissa_of, parse_decimal
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.exact import from_int, mantissas_of
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.schemas.kinds.quote import QUOTE, TS_NONE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.kinds.venue_bar import VENUE_BAR
from tidemill.streams.feeds.feed import (
    BOOK_LEVEL,
    BOOK_MESSAGE,
    NO_CHECKSUM,
    BookMessages,
    Decoded,
    Instruments,
    Malformed,
    Records,
    Said,
)

BUY, SELL = 1, 2
"""OrderSide's numbers."""
FUNDING_EXPONENT = -12
_MS_FROM, _US_FROM, _NS_FROM = 100_000_000_000, 100_000_000_000_000, 100_000_000_000_000_000
"""Times from here on are in ms (since 1973), us, ns; as the unit before they are past year 5100."""
_NS_MAX = 4_000_000_000_000_000_000
"""Latest time that is taken: the year 2096."""
WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, Unreadable)
"""What a message that is not as documented raises."""


class Columns:
    """What a run of raw messages says. Each list holds tuples, in the order received:

    trades        (instrument index, received, id, price, quantity, time, AggressorSide, flags)
    firsts        first id of each trade's range, identities: 64 bits that tell trades apart;
                  as long as `trades`, or empty
    quotes        (index, received, update id, bid price, bid quantity, ask price, ask quantity,
                  time or None)
    books         (index, received, time, first id, last id, previous id, bids, asks, snapshot,
                  rest, checksum or None); bids and asks are lists of [price, quantity, ...]
    derivatives   (index, received, time, mark price, index price, funding rate, next funding time,
                  funding interval in s, open interest), each of the six or None
    liquidations  (index, received, time, price, average price or None, quantity,
                  filled quantity or None, OrderSide)
    venue_bars    (index, received, time, open time, interval in s, open, high, low, close, volume,
                  quote volume or None, trade count or None)
    clocks        (venue's time, received)

    Prices and quantities are decimal text, ids int, times int in ms, us or ns.
    """

    def __init__(self, instruments: Instruments) -> None:
        self.instruments = instruments
        self.trades: list[tuple[Any, ...]] = []
        self.firsts: list[Any] = []
        self.identities: list[Any] = []
        self.quotes: list[tuple[Any, ...]] = []
        self.books: list[tuple[Any, ...]] = []
        self.derivatives: list[tuple[Any, ...]] = []
        self.liquidations: list[tuple[Any, ...]] = []
        self.venue_bars: list[tuple[Any, ...]] = []
        self.clocks: list[tuple[Any, int]] = []
        self.rest = Said()
        """What needs no records: acknowledged, refused, malformed, ignored, listed, shutdown."""

    def said(self) -> Said:
        """Make records of everything. Raises one of WRONG, saying what is wrong with any value."""
        said = self.rest
        said.trades = self._trades()
        said.firsts = self._beside(self.firsts, np.int64)
        said.identities = self._beside(self.identities, np.uint64)
        said.quotes = self._quotes()
        said.books = self._books()
        said.derivatives = self._derivatives()
        said.liquidations = self._liquidations()
        said.venue_bars = self._venue_bars()
        if self.clocks:
            times, received = zip(*self.clocks, strict=True)
            leads = nanoseconds(times) - np.array(received, np.int64)
            said.lead_ns = int(leads.max())
        return said

    def _exponents(self, owners: NDArray[np.intp], column: int) -> int | NDArray[np.int8]:
        """The exponent of all (`column` 0: prices, 1: quantities), or each one's (N,)."""
        known = self.instruments.by_index
        used = {known[i].exponents[column] for i in set(owners.tolist())}
        if len(used) == 1:
            return int(used.pop())
        each = np.array([instrument.exponents[column] for instrument in known], np.int8)
        of_each: NDArray[np.int8] = each[owners]
        return of_each

    def _numbers(
        self, owners: NDArray[np.intp], texts: Sequence[Any], column: int
    ) -> NDArray[np.int64]:
        return mantissas_of(texts, self._exponents(owners, column))

    def _beside(self, values: list[Any], dtype: type[np.generic]) -> NDArray[Any] | None:
        if not values:
            return None
        if len(values) != len(self.trades):
            raise Unreadable("not every trade has its first id or identity")
        return np.array(values, dtype)

    def _trades(self) -> Decoded | None:
        if not self.trades:
            return None
        index, received, ids_, prices, quantities, times, sides, flags = zip(
            *self.trades, strict=True
        )
        owners, records = np.array(index, np.intp), TRADE.empty(len(index))
        records["ts_event"] = nanoseconds(times)
        records["ts_recv"] = received
        records["trade_id"] = ids(ids_)
        records["price"] = self._numbers(owners, prices, 0)
        records["quantity"] = self._numbers(owners, quantities, 1)
        records["aggressor_side"], records["flags"] = sides, flags
        if (records["price"] <= 0).any() or (records["quantity"] <= 0).any():
            raise Unreadable("a price or quantity of a trade is not above zero")
        return Decoded(owners, records)

    def _quotes(self) -> Decoded | None:
        if not self.quotes:
            return None
        index, received, ids_, bids, bid_quantities, asks, ask_quantities, times = zip(
            *self.quotes, strict=True
        )
        owners, records = np.array(index, np.intp), QUOTE.empty(len(index))
        records["ts_event"] = _optional_times(times)
        records["ts_recv"] = received
        records["update_id"] = ids(ids_)
        prices = self._numbers(np.tile(owners, 2), bids + asks, 0).reshape(2, -1)
        quantities = self._numbers(np.tile(owners, 2), bid_quantities + ask_quantities, 1)
        records["bid_price"], records["ask_price"] = prices
        records["bid_quantity"], records["ask_quantity"] = quantities.reshape(2, -1)
        if (prices < 0).any() or (quantities < 0).any():
            raise Unreadable("a price or quantity of a quote is below zero")
        return Decoded(owners, records)

    def _books(self) -> BookMessages | None:
        if not self.books:
            return None
        (index, received, times, firsts, lasts, previous, bids, asks, snapshots, rests, checksums
         ) = zip(*self.books, strict=True)  # fmt: skip
        owners, messages = np.array(index, np.intp), np.zeros(len(index), BOOK_MESSAGE)
        messages["ts_event"], messages["ts_recv"] = _optional_times(times), received
        messages["first_id"], messages["last_id"] = integers(firsts, "id"), ids(lasts)
        messages["previous_id"] = integers(previous, "id")
        messages["snapshot"], messages["rest"] = snapshots, rests
        messages["checksum"] = [NO_CHECKSUM if c is None else c for c in checksums]
        sides = [side for pair in zip(bids, asks, strict=True) for side in pair]
        sizes = np.array([len(side) for side in sides], np.int64)
        counts = sizes.reshape(-1, 2).sum(axis=1)
        messages["count"] = counts
        messages["start"] = np.cumsum(counts) - counts
        flat = list(chain.from_iterable(sides))
        levels = np.zeros(len(flat), BOOK_LEVEL)
        if flat:
            of_level = np.repeat(owners, counts)
            levels["price"] = self._numbers(of_level, [level[0] for level in flat], 0)
            levels["quantity"] = self._numbers(of_level, [level[1] for level in flat], 1)
            levels["side"] = np.repeat(np.tile(np.array([BUY, SELL], np.uint8), len(index)), sizes)
            if (levels["price"] <= 0).any() or (levels["quantity"] < 0).any():
                raise Unreadable("a price of a book is not above zero, or a quantity below it")
        return BookMessages(owners, messages, levels)

    def _derivatives(self) -> Decoded | None:
        if not self.derivatives:
            return None
        records = DERIVATIVE.empty(len(self.derivatives))
        for record, row in zip(records, self.derivatives, strict=True):
            index, received, time, *values = row
            price, quantity = self.instruments.by_index[index].exponents
            record["ts_event"], record["ts_recv"] = _time(time), received
            exponents = (price, price, FUNDING_EXPONENT, None, None, quantity)
            for bit, (name, value) in enumerate(zip(_DERIVATIVE_FIELDS, values, strict=True)):
                if value is None:
                    continue
                exponent = exponents[bit]
                if exponent is not None:
                    record[name] = mantissa_of(value, exponent)
                else:
                    record[name] = _time(value) if name == "next_funding_time" else int(value)
                record["fields"] |= 1 << bit
        return self._decoded(self.derivatives, records)

    def _liquidations(self) -> Decoded | None:
        if not self.liquidations:
            return None
        records = LIQUIDATION.empty(len(self.liquidations))
        for record, row in zip(records, self.liquidations, strict=True):
            index, received, time, price, average, quantity, filled, side = row
            at = self.instruments.by_index[index].exponents
            record["ts_event"], record["ts_recv"] = _time(time), received
            record["price"] = mantissa_of(price, at[0])
            record["average_price"] = 0 if average is None else mantissa_of(average, at[0])
            record["quantity"] = mantissa_of(quantity, at[1])
            record["filled_quantity"] = 0 if filled is None else mantissa_of(filled, at[1])
            record["side"] = side
        return self._decoded(self.liquidations, records)

    def _venue_bars(self) -> Decoded | None:
        if not self.venue_bars:
            return None
        records = VENUE_BAR.empty(len(self.venue_bars))
        for record, row in zip(records, self.venue_bars, strict=True):
            index, received, time, opened, interval_s, *prices, volume, quote_volume, count = row
            at = self.instruments.by_index[index].exponents
            record["ts_event"], record["ts_recv"] = _time(time), received
            record["ts_open"], record["interval_s"] = _time(opened), interval_s
            for name, price in zip(("open", "high", "low", "close"), prices, strict=True):
                record[name] = mantissa_of(price, at[0])
            _put_128(record, "volume", volume, at[1])
            _put_128(record, "quote_volume", quote_volume or "0", at[0] + at[1])
            record["trade_count"] = count or 0
        return self._decoded(self.venue_bars, records)

    def _decoded(self, rows: list[tuple[Any, ...]], records: Records) -> Decoded:
        return Decoded(np.array([row[0] for row in rows], np.intp), records)


_DERIVATIVE_FIELDS = (
    "mark_price", "index_price", "funding_rate", "next_funding_time", "funding_interval_s",
    "open_interest",
)  # fmt: skip

Read = Callable[[Columns, int, Any], None]
"""Reads one message, received at a time (ns), decoded from JSON, into columns; raises one of WRONG
before it has appended anything."""


def decode_run(
    read: Read, received: Sequence[int], raws: Sequence[bytes], instruments: Instruments
) -> Said:
    """Return what a run of raw messages says; what `read` does not understand is in `malformed`."""
    columns = Columns(instruments)
    loads = orjson.loads
    for at, raw in zip(received, raws, strict=True):
        try:
            read(columns, at, loads(raw))
        except WRONG as error:
            columns.rest.malformed.append(Malformed(at, raw, f"{type(error).__name__}: {error}"))
    try:
        return columns.said()
    except WRONG as error:
        if len(raws) == 1:
            return Said(malformed=[Malformed(received[0], raws[0], str(error))])
    each = zip(received, raws, strict=True)
    return merged([decode_run(read, [at], [raw], instruments) for at, raw in each])


def merged(parts: Sequence[Said]) -> Said:
    """Join what messages said one by one."""
    leads = [part.lead_ns for part in parts if part.lead_ns is not None]
    listed = [part.listed for part in parts if part.listed is not None]
    return Said(
        **{name: _joined(name, parts) for name in _DECODED},
        firsts=_joined_beside("firsts", parts),
        identities=_joined_beside("identities", parts),
        books=_joined_books(parts),
        lead_ns=max(leads, default=None),
        ignored=sum(part.ignored for part in parts),
        acknowledged=[i for part in parts for i in part.acknowledged],
        refused=[r for part in parts for r in part.refused],
        malformed=[m for part in parts for m in part.malformed],
        listed=listed[-1] if listed else None,
        shutdown=any(part.shutdown for part in parts),
    )


_DECODED = ("trades", "quotes", "derivatives", "liquidations", "venue_bars")


def _joined(name: str, parts: Sequence[Said]) -> Decoded | None:
    found: list[Decoded] = [d for part in parts if (d := getattr(part, name)) is not None]
    if not found:
        return None
    return Decoded(
        np.concatenate([d.owners for d in found]), np.concatenate([d.records for d in found])
    )


def _joined_beside(name: str, parts: Sequence[Said]) -> NDArray[Any] | None:
    found: list[NDArray[Any]] = [v for part in parts if (v := getattr(part, name)) is not None]
    return np.concatenate(found) if found else None


def _joined_books(parts: Sequence[Said]) -> BookMessages | None:
    found = [part.books for part in parts if part.books is not None]
    if not found:
        return None
    messages = np.concatenate([books.messages for books in found])
    messages["start"] = np.cumsum(messages["count"]) - messages["count"]
    return BookMessages(
        np.concatenate([books.owners for books in found]),
        messages,
        np.concatenate([books.levels for books in found]),
    )


def integers(values: Sequence[Any], name: str) -> NDArray[np.int64]:
    """Return JSON values as int64 (N,). Raises Unreadable unless every one is such an integer."""
    column = np.array(values)
    if column.dtype != np.int64:
        raise Unreadable(f"{name} is not an integer of 64 bits")
    return column


def ids(values: Sequence[Any]) -> NDArray[np.int64]:
    """As `integers`, none below zero."""
    column = integers(values, "an id")
    if (column < 0).any():
        raise Unreadable("an id is below zero")
    return column


def nanoseconds(values: Sequence[Any]) -> NDArray[np.int64]:
    """Times (N,) of JSON integers in ms, us or ns as ns. Raises Unreadable outside 1973 to 2096."""
    times = integers(values, "a time")
    unit = np.where(times < _US_FROM, 1_000_000, np.where(times < _NS_FROM, 1_000, 1))
    if (times < _MS_FROM).any() or (times > _NS_MAX // unit).any():
        raise Unreadable("a time is not of this century")
    return times * unit


def _time(value: Any) -> int:
    return int(nanoseconds((value,))[0])


def _optional_times(values: Sequence[Any]) -> NDArray[np.int64]:
    """As `nanoseconds`, TS_NONE for those that are None."""
    if None not in values:
        return nanoseconds(values)
    known = [value for value in values if value is not None]
    times = np.full(len(values), TS_NONE, np.int64)
    if known:
        times[[value is not None for value in values]] = nanoseconds(known)
    return times


def _put_128(record: np.void, name: str, text: str, exponent: int) -> None:
    hi, lo = from_int(_mantissa_128(text, exponent))
    record[f"{name}_hi"], record[f"{name}_lo"] = hi, lo


def _mantissa_128(text: str, exponent: int) -> int:
    """As `mantissa_of`, for numbers beyond 64 bits."""
    mantissa: int
    mantissa, written = parse_decimal(text)
    shift = written - exponent
    if shift >= 0:
        return mantissa * int(10**shift)
    whole, rest = divmod(mantissa, int(10**-shift))
    if rest:
        raise Unreadable(f"{text!r} has more decimals than 10^{exponent}")
    return whole
