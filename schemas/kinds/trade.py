"""Trades, as a venue published them."""

from tidemill.schemas.frame import Field, Kind

TRADE = Kind(
    "trade",
    1,
    "One trade of one instrument at one venue.",
    (
        Field("ts_event", "int64", "when it happened, by the venue's clock", "ns"),
        Field("ts_recv", "int64", "when it was received, by our clock", "ns"),
        Field("trade_id", "uint64", "the venue's id; contiguous where the channel says so"),
        Field("price", "int64", "price of the trade", "price"),
        Field("quantity", "int64", "quantity traded, in base units or contracts", "quantity"),
        Field("aggressor_side", "uint8", "who took liquidity", enum="AggressorSide"),
        Field("flags", "uint16", "what else is known of it", enum="RecordFlag"),
    ),
)
