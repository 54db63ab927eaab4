"""Rows of ClickHouse tables: as they must be by LOG and OUT, and as they are, in one dtype."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tidemill.tests.faults.checker.messages import parse
from tidemill.tests.faults.checker.sbe import KINDS, Records

WIDE = np.dtype([("lo", "<u8"), ("hi", "<i8")])
TIME_NONE = -(1 << 63)
SCALE = 18
TABLES = {
    "trades": "trade", "quotes": "quote", "times": "time", "book_levels": "book",
    "derivatives": "derivative", "liquidations": "liquidation", "venue_bars": "venue_bar",
    "feed_events": "event", "bars": "bar", "prices": "price", "book_metrics": "book_metrics",
    "book_snapshots": "book_snapshot", "top_levels": "book_level", "opportunities": "opportunity",
    "derivative_metrics": "derivative_metrics", "feed_states": "feed",
    "activity_bars": "activity_bar", "resampled_bars": "resampled_bar",
    "composite_bars": "composite_bar",
    "anomalies": "anomaly", "indicators": "indicator", "signals": "signal", "screens": "screens",
}  # fmt: skip
"""Names of ClickHouse's tables, and the kind of record that each has a row for."""
EMITTERS = {
    "bar": "bars", "price": "price", "book_metrics": "book", "book_snapshot": "book",
    "book_level": "book", "opportunity": "arbitrage", "derivative_metrics": "derivatives",
    "feed": "stale", "activity_bar": "activity_bars", "resampled_bar": "resampled_bars",
    "anomaly": "anomalies", "indicator": "indicators", "signal": "screener",
    "composite_bar": "composite_bars",
}  # fmt: skip
"""Derived kinds and who derives them."""
OTHERS = {"buy_fee_rate": "buy_fee_ppm", "sell_fee_rate": "sell_fee_ppm"}
"""Columns that have another name than their field."""
OF_SUBJECT = {
    "symbol": "symbol",
    "venue": "venue",
    "pair": "symbol",
    "window": "spec",
    "bars": "spec",
    "screen": "spec",
    "detectors": "spec",
}


class Piece(NamedTuple):
    """Records of one message: of LOG at `r`, or derived (then they say themselves where)."""

    r: int
    subject: str
    exponents: tuple[int, int]
    records: Records


@dataclass(frozen=True)
class Column:
    """One column: its name and ClickHouse type."""

    name: str
    type: str

    @property
    def is_text(self) -> bool:
        """Whether it holds names."""
        return "String" in self.type

    def code(self, width: int) -> Any:
        """Its NumPy type; texts are `width` bytes wide."""
        if self.is_text:
            return f"S{width}"
        if self.type.startswith("Decimal"):
            return WIDE
        if "DateTime64" in self.type:
            return "<i8"
        if self.type.startswith("Enum8"):
            return "i1"
        if self.type == "Float64":
            return "<f8"
        match = re.fullmatch(r"(U?)Int(\d+)", self.type)
        assert match is not None, self
        return f"<{'u' if match[1] else 'i'}{int(match[2]) // 8}"

    def sql(self, width: int) -> str:
        """How it is asked for so that all rows have one width."""
        name = f"`{self.name}`"
        if self.is_text:
            return f"toFixedString(toString({name}), {width})"
        if self.type.startswith("Nullable"):
            some = f"toUnixTimestamp64Nano(assumeNotNull({name}))"
            return f"if(isNull({name}), toInt64({TIME_NONE}), {some})"
        return f"CAST({name}, 'Int8')" if self.type.startswith("Enum8") else name


def dtype_of(columns: Iterable[Column], width: int) -> np.dtype[np.void]:
    """One row."""
    return np.dtype([(column.name, column.code(width)) for column in columns])


def wide(low: Any, high: Any, power: int) -> Any:
    """Integers of 128 bits (N,), times 10 to a power of at least 0, in 128 bits, exactly."""
    negative = high < 0
    limbs = _limbs(low, high.view(np.uint64), negative)
    while power > 0:
        step = min(power, 9)
        carry = np.zeros(len(low), np.uint64)
        for at, limb in enumerate(limbs):
            grown = limb * np.uint64(10**step) + carry
            limbs[at], carry = grown & np.uint64(0xFFFFFFFF), grown >> np.uint64(32)
        if carry.any() or (limbs[3] >> np.uint64(31)).any():
            raise OverflowError("a number does not fit 128 bits")
        power -= step
    made = np.empty(len(low), WIDE)
    lows = limbs[0] | limbs[1] << np.uint64(32)
    highs = limbs[2] | limbs[3] << np.uint64(32)
    lows, highs = _negated(lows, highs, negative)
    made["lo"], made["hi"] = lows, highs.view(np.int64)
    return made


def _negated(low: Any, high: Any, negative: Any) -> tuple[Any, Any]:
    minus = ~low + np.uint64(1)
    up = (~high) + (minus == 0)
    return np.where(negative, minus, low), np.where(negative, up, high).astype(np.uint64)


def _limbs(low: Any, high: Any, negative: Any) -> list[Any]:
    low, high = _negated(low, high, negative)
    mask, up = np.uint64(0xFFFFFFFF), np.uint64(32)
    return [low & mask, low >> up, high & mask, high >> up]


def _power(unit: str | int, exponents: tuple[int, int]) -> int:
    if isinstance(unit, int):
        return unit + SCALE
    of = {"price": exponents[0], "quantity": exponents[1], "notional": sum(exponents)}
    return of[unit] + SCALE


def of_pieces(kind: str, columns: list[Column], pieces: Iterable[Piece], width: int) -> Records:
    """The rows (N,) of records, in order of position."""
    dtype, parts = dtype_of(columns, width), []
    for piece in pieces:
        rows = np.zeros(len(piece.records), dtype)
        _fill(rows, kind, columns, piece)
        parts.append(rows)
    return in_order(np.concatenate(parts) if parts else np.zeros(0, dtype))


def _fill(rows: Records, kind: str, columns: list[Column], piece: Piece) -> None:
    records, derived, subject = piece.records, kind in EMITTERS, parse(piece.subject)
    assert subject is not None
    positions = {"_r": "at_r", "_i": "at_i", "_n": "n"}
    for column in columns:
        name = OTHERS.get(column.name, column.name)
        if column.name in positions:
            if derived:
                rows[column.name] = records[positions[column.name]]
            elif column.name != "_n":
                rows[column.name] = piece.r if column.name == "_r" else np.arange(len(rows))
        elif column.name in OF_SUBJECT and name not in (records.dtype.names or ()):
            rows[column.name] = getattr(subject, OF_SUBJECT[column.name]).encode()
        elif column.type.startswith("Decimal"):
            power = _power(KINDS[kind].units[name], piece.exponents)
            rows[column.name] = _decimal(records, name, name in KINDS[kind].wide, power)
        else:
            rows[column.name] = records[name]


def _decimal(records: Records, name: str, is_wide: bool, power: int) -> Any:
    if is_wide:
        low, high = records[f"{name}_lo"], records[f"{name}_hi"]
    else:
        value = records[name].astype(np.int64)
        low, high = value.view(np.uint64), value >> np.int64(63)
    return wide(np.ascontiguousarray(low), np.ascontiguousarray(high), power)


def in_order(rows: Records) -> Records:
    """Rows by position."""
    order: Any = np.lexsort((rows["_n"], rows["_i"], rows["_r"]))
    return np.ascontiguousarray(rows[order])


def of_events(
    kind: str, columns: list[Column], events: Iterable[tuple[int, Mapping[str, Any]]], width: int
) -> Records:
    """The rows (N,) of JSON events at roots."""
    rows = []
    for r, event in events:
        values = {"feed": dict, "screens": screen_event}.get(kind, feed_event)(event)
        at = (event["at_r"], event["at_i"], event["n"]) if kind == "feed" else (r, 0, 0)
        values |= dict(zip(("_r", "_i", "_n"), at, strict=True))
        rows.append(tuple(_plain(column, values[column.name]) for column in columns))
    return in_order(np.array(rows, dtype_of(columns, width)))


def _plain(column: Column, value: Any) -> Any:
    if column.is_text:
        return str(value).encode()
    return max(TIME_NONE, min((1 << 63) - 1, value)) if column.type == "Int64" else value


ALIASES = {
    "expected_id": "expected", "received_id": "received", "computed": "received",
    "last_update_id": "last_id",
}  # fmt: skip


def screen_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """What the columns of a row of `screens` say of an event."""
    defined = event["event"].startswith("ScreenDefined.")
    row = {name: event.get(name, "") for name in ("name", "bars", "condition")}
    row["instruments"] = ",".join(event.get("instruments", ()))
    return row | {"status": "DEFINED" if defined else "REMOVED"}


def feed_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """The row of what a feed says of itself: what few types have is JSON in `detail`."""
    row: dict[str, Any] = dict.fromkeys(
        ("venue", "symbol", "product", "reason", "expected", "received"), ""
    )
    row |= dict.fromkeys(("first_id", "last_id", "offset_ns", "latency_ns"), 0)
    row |= dict.fromkeys(("ts_from", "ts_to"), TIME_NONE)
    own = {ALIASES.get(n, n): v for n, v in event.items() if n not in ("event", "sequence")}
    row |= {name: own.pop(name) for name in list(row) if name in own}
    if "first_id" in event:
        row |= {"expected": event["first_id"], "received": event["last_id"] + 1}
    row["ts_recv"] = own.pop("ts_recv", row["ts_to"])
    row["event"] = event["event"].partition(".")[0]
    row["detail"] = json.dumps(own, sort_keys=True, separators=(",", ":")) if own else ""
    return row
