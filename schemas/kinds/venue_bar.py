"""Bars that a venue published itself: to audit our own against, and for history we did not hear."""

from tidemill.schemas.frame import Field, Kind

VENUE_BAR = Kind(
    "venue_bar",
    10,
    "One closed bar of one instrument as its venue made it.",
    (
        Field("ts_event", "int64", "when the venue sent it, by its clock", "ns"),
        Field("ts_recv", "int64", "when it was received, by our clock", "ns"),
        Field("ts_open", "int64", "start of the interval, inclusive", "ns"),
        Field("interval_s", "uint32", "length of the interval in seconds"),
        Field(
            "open", "int64", "as the venue defines it: its first price or the close before", "price"
        ),
        Field("high", "int64", "highest price", "price"),
        Field("low", "int64", "lowest price", "price"),
        Field("close", "int64", "price of the last trade", "price"),
        Field("volume", "int128", "sum of quantities", "quantity"),
        Field("quote_volume", "int128", "sum of price x quantity; 0 if not given", "notional"),
        Field("trade_count", "uint64", "number of trades; 0 if not given"),
        Field("flags", "uint16", "what else is known of it", enum="RecordFlag"),
    ),
)
