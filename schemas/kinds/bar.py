"""Bars of trades over an interval of time."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

BAR = Kind(
    "bar",
    5,
    "One bar of one instrument that closed, or a whole revised bar; none without a trade.",
    (
        *AT,
        Field("ts_open", "int64", "start of the interval, inclusive", "ns"),
        Field("interval_s", "uint32", "length of the interval in seconds"),
        Field("revision", "uint32", "0 when it closed, one more for each late trade's revision"),
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
