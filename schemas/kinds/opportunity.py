"""Arbitrage over the venues of a pair, net of fees, for the size that is really there."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

OPPORTUNITY = Kind(
    "opportunity",
    15,
    "An opportunity to buy a pair at one venue and sell it at another, as it opened, changed or"
    " closed. (opened_r, opened_i, legs) names it among those of its pair.",
    (
        *AT,
        Field("ts", "int64", "the time record that this was made at", "ns"),
        Field("ts_opened", "int64", "the time record at which it opened", "ns"),
        Field("opened_r", "uint64", "LOG sequence of that record"),
        Field("opened_i", "uint32", "index of that record in its frame"),
        Field("changes", "uint32", "how many times it has changed"),
        Field("buy_price", "int64", "best ask where it is bought", "price"),
        Field("sell_price", "int64", "best bid where it is sold", "price"),
        Field("quantity", "int64", "base units over which every one earns its fees", "quantity"),
        Field("buy_notional", "int128", "what they cost before fees", "notional"),
        Field("sell_notional", "int128", "what they bring before fees", "notional"),
        Field("buy_fee", "int128", "taker fee of buying, rounded up", "notional"),
        Field("sell_fee", "int128", "taker fee of selling, rounded up", "notional"),
        Field("gross", "int128", "sell_notional - buy_notional", "notional"),
        Field("net", "int128", "gross less both fees", "notional"),
        Field("spread_ratio", "int64", "sell_price over buy_price - 1, in 1e-9"),
        Field("gross_ratio", "int64", "gross over buy_notional, in 1e-9"),
        Field("net_ratio", "int64", "net over buy_notional, in 1e-9"),
        Field("buy_fee_ppm", "int64", "taker fee where it is bought, in 1e-6 of notional"),
        Field("sell_fee_ppm", "int64", "taker fee where it is sold, in 1e-6 of notional"),
        Field("buy_venue", "char16", "where it is bought"),
        Field("buy_symbol", "char48", "the instrument that is bought"),
        Field("sell_venue", "char16", "where it is sold"),
        Field("sell_symbol", "char48", "the instrument that is sold"),
        Field("venues", "uint8", "instruments of the pair that are fresh and could take part"),
        Field("legs", "uint8", "what is bought and sold", enum="Legs"),
        Field("status", "uint8", "where it is in its life", enum="OpportunityStatus"),
        Field("flags", "uint16", "what else is known of it", enum="OpportunityFlag"),
    ),
)
