"""Best bid and offer, as a venue published them."""

from tidemill.schemas.frame import INT64_NULL, Field, Kind

TS_NONE = INT64_NULL
"""A venue gave no event time."""

QUOTE = Kind(
    "quote",
    2,
    "Best bid and offer of one instrument at one venue.",
    (
        Field("ts_event", "int64", "when it changed, by the venue's clock", "ns", optional=True),
        Field("ts_recv", "int64", "when it was received, by our clock", "ns"),
        Field("update_id", "uint64", "the venue's book update id; not contiguous"),
        Field("bid_price", "int64", "best bid; 0 with quantity 0 where there is none", "price"),
        Field("bid_quantity", "int64", "quantity at the best bid", "quantity"),
        Field("ask_price", "int64", "best ask; 0 with quantity 0 where there is none", "price"),
        Field("ask_quantity", "int64", "quantity at the best ask", "quantity"),
        Field("flags", "uint16", "what else is known of it", enum="RecordFlag"),
    ),
)
