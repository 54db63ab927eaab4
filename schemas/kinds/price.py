"""The price of a pair over its venues."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

PRICE = Kind(
    "price",
    9,
    "Volume-weighted price of a pair over the venues that are fresh, and the best quotes of all.",
    (
        *AT,
        Field("ts", "int64", "the time record that this was made at", "ns"),
        Field("volume", "int128", "traded in 24 hours over the fresh venues", "quantity"),
        Field("quote_volume", "int128", "sum of price x quantity of the same", "notional"),
        Field("last_price_sum", "int128", "sum of the fresh venues' last prices", "price"),
        Field("high_price", "int64", "highest last price of a fresh venue", "price"),
        Field("low_price", "int64", "lowest last price of a fresh venue", "price"),
        Field("best_bid", "int64", "highest fresh bid; 0 where there is none", "price"),
        Field("best_bid_quantity", "int64", "quantity there", "quantity"),
        Field("best_ask", "int64", "lowest fresh ask; 0 where there is none", "price"),
        Field("best_ask_quantity", "int64", "quantity there", "quantity"),
        Field("high_venue", "char16", "venue of high_price"),
        Field("low_venue", "char16", "venue of low_price"),
        Field("best_bid_venue", "char16", "venue of best_bid"),
        Field("best_ask_venue", "char16", "venue of best_ask"),
        Field("venues", "uint8", "number of venues with a fresh trade or quote"),
        Field("flags", "uint16", "what else is known of it", enum="BarFlag"),
    ),
)
