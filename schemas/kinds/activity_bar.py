"""Bars of trades that close by what was traded, not by time."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

STEP_EXPONENT = -18
"""Exponent of `step` and `threshold`, whose units differ by aggregation."""

ACTIVITY_BAR = Kind(
    "activity_bar",
    16,
    "One bar of one instrument that closed because enough was traded, or one that was revised."
    " (aggregation, sequence) names it among those of its instrument.",
    (
        *AT,
        Field("ts_open", "int64", "event time of its first trade", "ns"),
        Field("ts_close", "int64", "event time of its last trade", "ns"),
        Field("sequence", "uint64", "how many bars of its aggregation closed before it"),
        Field("revision", "uint32", "0 when it closed, one more for each time it was revised"),
        Field("aggregation", "uint8", "what it counts", enum="BarAggregation"),
        Field(
            "step",
            "int128",
            "its parameter in 1e-18 of a trade, of quantity, of notional or of price, by"
            " aggregation; of imbalance and runs the trades that a bar is first expected to have;"
            " 0 of a bar that itself seeds the parameter",
        ),
        Field(
            "threshold",
            "int128",
            "what it had to reach, in 1e-18 of a trade, of quantity, of notional or of price; 0 of"
            " a bar that was counted in trades because nothing was known to expect",
        ),
        Field("open", "int64", "price of the first trade; of a brick where it begins", "price"),
        Field("high", "int64", "highest price; of a brick its upper end", "price"),
        Field("low", "int64", "lowest price; of a brick its lower end", "price"),
        Field("close", "int64", "price of the last trade; of a brick where it ends", "price"),
        Field("volume", "int128", "sum of quantities, exact", "quantity"),
        Field("quote_volume", "int128", "sum of price x quantity, exact", "notional"),
        Field("taker_buy_volume", "int128", "sum of quantities bought by takers", "quantity"),
        Field("trade_count", "uint64", "number of trades"),
        Field("first_trade_id", "uint64", "id of the first trade"),
        Field("last_trade_id", "uint64", "id of the last trade"),
        Field("flags", "uint16", "what else is known of it", enum="BarFlag"),
    ),
)
