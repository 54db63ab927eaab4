"""Bars over a longer interval of time, of shorter bars."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

RESAMPLED_BAR = Kind(
    "resampled_bar",
    18,
    "One bar of one instrument, made of shorter bars, that closed, or a whole revised one; none"
    " without a trade.",
    (
        *AT,
        Field("ts_open", "int64", "start of the interval, inclusive", "ns"),
        Field("ts_close", "int64", "end of the interval, exclusive", "ns"),
        Field("interval_s", "uint32", "length of the interval in seconds; 0 of a calendar month"),
        Field("revision", "uint32", "0 when it closed, one more for each revised part"),
        Field("open", "int64", "price of the first trade", "price"),
        Field("high", "int64", "highest price", "price"),
        Field("low", "int64", "lowest price", "price"),
        Field("close", "int64", "price of the last trade", "price"),
        Field("volume", "int128", "sum of quantities, exact", "quantity"),
        Field("quote_volume", "int128", "sum of price x quantity, exact", "notional"),
        Field("taker_buy_volume", "int128", "sum of quantities bought by takers", "quantity"),
        Field("trade_count", "uint64", "number of trades"),
        Field("first_trade_id", "uint64", "id of the first trade"),
        Field("last_trade_id", "uint64", "id of the last trade"),
        Field("flags", "uint16", "what else is known of it", enum="BarFlag"),
    ),
)
