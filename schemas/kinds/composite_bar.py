"""Bars over an interval of time of one pair over several venues, made of the venues' bars."""

from collections.abc import Mapping
from typing import Any

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

COMPOSITE_BAR = Kind(
    "composite_bar",
    19,
    "One bar of a composite, made of its members' bars of the same interval, that closed, or a"
    " whole revised one; none without a trade at any of them.",
    (
        *AT,
        Field("ts_open", "int64", "start of the interval, inclusive", "ns"),
        Field("interval_s", "uint32", "length of the interval in seconds"),
        Field(
            "revision", "uint32", "0 when it closed, one more for each member's bar that changed"
        ),
        Field("open", "int64", "open of the first member in it", "price"),
        Field("high", "int64", "highest price at any of them", "price"),
        Field("low", "int64", "lowest price at any of them", "price"),
        Field("close", "int64", "close of the first member in it", "price"),
        Field("volume", "int128", "sum of quantities, exact", "quantity"),
        Field("quote_volume", "int128", "sum of price x quantity, exact", "notional"),
        Field("taker_buy_volume", "int128", "sum of quantities bought by takers", "quantity"),
        Field("trade_count", "uint64", "number of trades"),
        Field("venues", "char136", "venues whose bars are in it, in order of precedence, commas"),
        Field("missing", "char136", "venues of which nobody knew whether they had traded"),
        Field("late", "char136", "venues in it whose bars came after it had closed"),
        Field("flags", "uint16", "what else is known of it", enum="BarFlag"),
    ),
)
VENUES = ("venues", "missing", "late")
"""Its fields that name venues."""


def venues_of(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the venues that a row names, by field; none for a bar that is of no composite."""
    return {name: row[name].split(",") if row[name] else [] for name in VENUES if name in row}
