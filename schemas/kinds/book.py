"""Changes and snapshots of an order book, level by level."""

from tidemill.schemas.frame import Field, Kind

BOOK = Kind(
    "book",
    6,
    "One price level of a book's change or snapshot; LAST marks the end of one venue message.",
    (
        Field("ts_event", "int64", "when it changed, by the venue's clock", "ns"),
        Field("ts_recv", "int64", "when it was received, by our clock", "ns"),
        Field("first_update_id", "uint64", "first book update id that the message covers"),
        Field("last_update_id", "uint64", "last book update id that the message covers"),
        Field("price", "int64", "price of the level", "price"),
        Field("quantity", "int64", "new quantity at the level; 0 removes it", "quantity"),
        Field("side", "uint8", "bid (BUY) or ask (SELL)", enum="OrderSide"),
        Field("flags", "uint16", "LAST, SNAPSHOT", enum="RecordFlag"),
    ),
)
