"""Forced orders that a venue published."""

from tidemill.schemas.frame import Field, Kind

LIQUIDATION = Kind(
    "liquidation",
    8,
    "One liquidation order; venues publish only some of them.",
    (
        Field("ts_event", "int64", "when it happened, by the venue's clock", "ns"),
        Field("ts_recv", "int64", "when it was received, by our clock", "ns"),
        Field("price", "int64", "price of the order, or of bankruptcy", "price"),
        Field("average_price", "int64", "average price of its fills; 0 if not given", "price"),
        Field("quantity", "int64", "quantity of the order", "quantity"),
        Field("filled_quantity", "int64", "quantity filled; 0 if not given", "quantity"),
        Field("side", "uint8", "side of the liquidation order", enum="OrderSide"),
        Field("flags", "uint16", "what else is known of it", enum="RecordFlag"),
    ),
)
