"""What an order book looks like, once a second and whenever its state changes."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

BOOK_METRICS = Kind(
    "book_metrics",
    11,
    "One instrument's book: its state, and, where that is VALID, what it offers; else zeros.",
    (
        *AT,
        Field("ts", "int64", "the time record, or the receipt of what changed the state", "ns"),
        Field("ts_event", "int64", "the newest message, by the venue's clock", "ns"),
        Field("ts_recv", "int64", "receipt of the newest message, by our clock", "ns"),
        Field("last_update_id", "uint64", "last book update id that is in it"),
        Field("bid_price", "int64", "best bid; 0 with quantity 0 where there is none", "price"),
        Field("bid_quantity", "int64", "quantity at the best bid", "quantity"),
        Field("ask_price", "int64", "best ask; 0 with quantity 0 where there is none", "price"),
        Field("ask_quantity", "int64", "quantity at the best ask", "quantity"),
        Field("spread", "int64", "best ask minus best bid", "price"),
        Field("spread_ratio", "int64", "spread over mid price, in 1e-9, rounded down"),
        Field("bid_depth_1", "int128", "price x quantity of bids within 1 % of mid", "notional"),
        Field("ask_depth_1", "int128", "price x quantity of asks within 1 % of mid", "notional"),
        Field("bid_depth_5", "int128", "price x quantity of bids within 5 % of mid", "notional"),
        Field("ask_depth_5", "int128", "price x quantity of asks within 5 % of mid", "notional"),
        Field("bid_volume_1", "int128", "quantity of bids within 1 % of mid", "quantity"),
        Field("ask_volume_1", "int128", "quantity of asks within 1 % of mid", "quantity"),
        Field(
            "imbalance",
            "int64",
            "(bid_volume_1 - ask_volume_1) / their sum, in 1e-9, rounded to zero",
        ),
        Field("bid_wall_price", "int64", "price of the largest bid wall; 0 for none", "price"),
        Field("bid_wall_quantity", "int64", "quantity there", "quantity"),
        Field("ask_wall_price", "int64", "price of the largest ask wall; 0 for none", "price"),
        Field("ask_wall_quantity", "int64", "quantity there", "quantity"),
        Field("confidence", "int64", "confidence in the signal, in 1e-9"),
        Field("bid_levels", "uint32", "bid levels held"),
        Field("ask_levels", "uint32", "ask levels held"),
        Field("bid_walls", "uint32", "bids within 5 % over 5 times the mean quantity there"),
        Field("ask_walls", "uint32", "asks within 5 % over 5 times the mean quantity there"),
        Field("liquidity_score", "uint8", "depth in 1 %: 50 is usual for it, 100 is twice that"),
        Field("state", "uint8", "whether it is proven to be the venue's", enum="BookState"),
        Field("spread_quality", "uint8", "how narrow the spread is", enum="SpreadQuality"),
        Field("signal", "uint8", "what the imbalance is for", enum="Signal"),
        Field("flags", "uint16", "what else is known of it", enum="BookFlag"),
    ),
)
