"""Records of the kinds that come rarely, made one by one: derivatives, liquidations, venue bars.

Each function takes the rows that `Columns` describes and the instruments by index; it returns None
where there are no rows, and raises Unreadable, or what a value that is no number raises.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidemill.schemas.decimals import mantissa_of, parse_decimal
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.exact import from_int
from tidemill.schemas.kinds.derivative import DERIVATIVE
from tidemill.schemas.kinds.liquidation import LIQUIDATION
from tidemill.schemas.kinds.venue_bar import VENUE_BAR
from tidemill.streams.feeds import column_kernels
from tidemill.streams.feeds.feed import Decoded, Instrument, Records

FUNDING_EXPONENT = -12
_DERIVATIVE_FIELDS = (
    "mark_price", "index_price", "funding_rate", "next_funding_time", "funding_interval_s",
    "open_interest",
)  # fmt: skip
Rows = Sequence[tuple[Any, ...]]


def derivatives(rows: Rows, known: Sequence[Instrument]) -> Decoded | None:
    """Return marks, rates and open interest: a bit of `fields` for each that is told."""
    if not rows:
        return None
    records = DERIVATIVE.empty(len(rows))
    for record, row in zip(records, rows, strict=True):
        index, received, time, *values = row
        price, quantity = known[index].exponents
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
    return _decoded(rows, records)


def liquidations(rows: Rows, known: Sequence[Instrument]) -> Decoded | None:
    """Return what was liquidated."""
    if not rows:
        return None
    records = LIQUIDATION.empty(len(rows))
    for record, row in zip(records, rows, strict=True):
        index, received, time, price, average, quantity, filled, side = row
        at = known[index].exponents
        record["ts_event"], record["ts_recv"] = _time(time), received
        record["price"] = mantissa_of(price, at[0])
        record["average_price"] = 0 if average is None else mantissa_of(average, at[0])
        record["quantity"] = mantissa_of(quantity, at[1])
        record["filled_quantity"] = 0 if filled is None else mantissa_of(filled, at[1])
        record["side"] = side
    return _decoded(rows, records)


def venue_bars(rows: Rows, known: Sequence[Instrument]) -> Decoded | None:
    """Return the venue's own closed bars."""
    if not rows:
        return None
    records = VENUE_BAR.empty(len(rows))
    for record, row in zip(records, rows, strict=True):
        index, received, time, opened, interval_s, *prices, volume, quote_volume, count = row
        at = known[index].exponents
        record["ts_event"], record["ts_recv"] = _time(time), received
        record["ts_open"], record["interval_s"] = _time(opened), interval_s
        for name, price in zip(("open", "high", "low", "close"), prices, strict=True):
            record[name] = mantissa_of(price, at[0])
        _put_128(record, "volume", volume, at[1])
        _put_128(record, "quote_volume", quote_volume or "0", at[0] + at[1])
        record["trade_count"] = count or 0
    return _decoded(rows, records)


def _decoded(rows: Rows, records: Records) -> Decoded:
    return Decoded(np.array([row[0] for row in rows], np.intp), records)


def _time(value: Any) -> int:
    if type(value) is not int or abs(value) >= 1 << 63:
        raise Unreadable("a time is not an integer of 64 bits")
    time = int(column_kernels.nanoseconds(value))
    if time < 0:
        raise Unreadable("a time is not of this century")
    return time


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
