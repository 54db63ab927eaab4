"""From JSON values to records: what venue files read, message by message, made into arrays at once.

A venue file reads one message and appends plain tuples, one a record or book message, to the lists
of a `Columns`; nothing is parsed there. `decode_run` turns them into records: one compiled call a
kind parses, checks and places everything (column_kernels.py), whatever a run holds of it. A run
with a value that is no number is decoded again message by message, so that one bad message costs
only itself.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tidemill.schemas.errors import Unreadable
from tidemill.schemas.exact import mantissas_of
from tidemill.schemas.kinds.quote import QUOTE, TS_NONE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams.feeds import column_kernels as kernels
from tidemill.streams.feeds import rare_columns as rare
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
from tidemill.streams.feeds.joined import joined

WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, Unreadable)
"""What a message that is not as documented raises."""
_EMPTY = np.empty(0, np.uint8)
_EMPTY.flags.writeable = False


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
        said, known = self.rest, self.instruments.by_index
        said.trades = self._trades() if self.trades else None
        said.firsts = self._beside(self.firsts, np.int64)
        said.identities = self._beside(self.identities, np.uint64)
        said.quotes = self._quotes() if self.quotes else None
        said.books = self._books() if self.books else None
        said.derivatives = rare.derivatives(self.derivatives, known)
        said.liquidations = rare.liquidations(self.liquidations, known)
        said.venue_bars = rare.venue_bars(self.venue_bars, known)
        if self.clocks:
            times, received = zip(*self.clocks, strict=True)
            lead_ns, wrong = kernels.lead(_integers(("a time", times), ("", received)))
            _check(wrong, "message")
            said.lead_ns = int(lead_ns)
        return said

    def _beside(self, values: list[Any], dtype: type[np.generic]) -> NDArray[Any] | None:
        if not values:
            return None
        if len(values) != len(self.trades):
            raise Unreadable("not every trade has its first id or identity")
        return np.array(values, dtype)

    def _trades(self) -> Decoded:
        index, received, ids, prices, quantities, times, sides, flags = zip(
            *self.trades, strict=True
        )
        ints = _integers(
            *(("", index), ("", received), ("an id", ids), ("a time", times)),
            *(("", sides), ("", flags)),
        )
        numbers, records = np.empty((2, len(index)), np.int64), TRADE.empty(len(index))
        self._fill(kernels.trades, ints, prices + quantities, numbers, "trade", records)
        return Decoded(ints[0], records)

    def _quotes(self) -> Decoded:
        index, received, ids, bids, bid_quantities, asks, ask_quantities, times = zip(
            *self.quotes, strict=True
        )
        ints = _integers(
            *(("", index), ("", received), ("an id", ids), ("a time", _optional(times)))
        )
        texts = bids + asks + bid_quantities + ask_quantities
        numbers, records = np.empty((4, len(index)), np.int64), QUOTE.empty(len(index))
        self._fill(kernels.quotes, ints, texts, numbers, "quote", records)
        return Decoded(ints[0], records)

    def _books(self) -> BookMessages:
        (index, received, times, firsts, lasts, previous, bids, asks, snapshots, rests, checksums
         ) = zip(*self.books, strict=True)  # fmt: skip
        given = [NO_CHECKSUM if checksum is None else checksum for checksum in checksums]
        ints = _integers(
            *(("", index), ("", received), ("a time", _optional(times)), ("id", firsts)),
            *(("an id", lasts), ("id", previous), ("", snapshots), ("", rests)),
            *(("a checksum", given), ("", [*map(len, bids)]), ("", [*map(len, asks)])),
        )
        told = list(chain.from_iterable(chain.from_iterable(zip(bids, asks, strict=True))))
        texts = [level[0] for level in told] + [level[1] for level in told]
        messages, levels = np.zeros(len(index), BOOK_MESSAGE), np.zeros(len(told), BOOK_LEVEL)
        numbers = np.empty((2, len(told)), np.int64)
        self._fill(kernels.books, ints, texts, numbers, "book", messages, levels)
        return BookMessages(ints[0], messages, levels)

    def _fill(
        self,
        kernel: Callable[..., int],
        ints: NDArray[np.int64],
        texts: Sequence[Any],
        numbers: NDArray[np.int64],
        kind: str,
        *records: Records,
    ) -> None:
        """Have `kernel` make `records` of integers and texts, as column_kernels.py says."""
        exponents = self.instruments.exponents
        text = np.frombuffer((",".join(texts) + ",").encode(), np.uint8) if texts else _EMPTY
        wrong = kernel(ints, text, exponents, numbers, *records)
        if wrong == kernels.NOT_PLAIN:
            each = ints[9] + ints[10] if kind == "book" else 1
            owners = np.tile(np.repeat(ints[0], each), len(numbers) // 2)
            half = len(owners)
            for column, part in enumerate((texts[:half], texts[half:])):
                numbers.reshape(2, half)[column] = mantissas_of(part, exponents[owners, column])
            wrong = kernel(ints, _EMPTY, exponents, numbers, *records)
        _check(wrong, kind)


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
    return joined([decode_run(read, [at], [raw], instruments) for at, raw in each])


def _integers(*columns: tuple[str, Sequence[Any]]) -> NDArray[np.int64]:
    """Return columns (C, N) of JSON values. Raises Unreadable unless every one that is named has
    integers of 64 bits only."""
    for name, values in columns:
        if name and set(map(type, values)) != {int}:
            raise Unreadable(f"{name} is not an integer of 64 bits")
    try:
        return np.array([values for _, values in columns], np.int64)
    except OverflowError as error:
        wide = [name for name, values in columns if name and not _fit(values)]
        raise Unreadable(f"{wide[0]} is not an integer of 64 bits") from error


def _fit(values: Sequence[int]) -> bool:
    return min(values) >= -(1 << 63) and max(values) < 1 << 63


def _optional(times: Sequence[Any]) -> Sequence[Any]:
    """Return times with TS_NONE for those that are None."""
    if TS_NONE in times:
        raise Unreadable(_NOT_A_TIME)
    return [TS_NONE if time is None else time for time in times] if None in times else times


_NOT_A_TIME = "a time is not of this century"
_WRONG = {
    kernels.NOT_A_TIME: _NOT_A_TIME,
    kernels.NEGATIVE_ID: "an id is below zero",
    kernels.BELOW_ZERO: "a price or quantity of a {} is below zero",
    kernels.NOT_ABOVE_ZERO: "a price or quantity of a {} is not above zero",
    kernels.NOT_A_LEVEL: "a price of a {} is not above zero, or a quantity below it",
}


def _check(wrong: int, kind: str) -> None:
    if wrong:
        raise Unreadable(_WRONG[wrong].format(kind))
