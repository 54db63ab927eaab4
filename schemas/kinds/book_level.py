"""Levels of valid books: the best ones once a second, and all of them to begin the past from."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

_FIELDS = (
    *AT,
    Field("ts", "int64", "as in the book's metrics of the same position", "ns"),
    Field("last_update_id", "uint64", "last book update id that is in the book"),
    Field("price", "int64", "price of the level", "price"),
    Field("quantity", "int64", "quantity there", "quantity"),
    Field("level", "uint32", "0 for the best of its side"),
    Field("side", "uint8", "bid (BUY) or ask (SELL)", enum="OrderSide"),
    Field("flags", "uint16", "what else is known of the book", enum="BookFlag"),
)

BOOK_LEVEL = Kind(
    "book_level",
    12,
    "One of the 20 best levels of a side of a valid book. Those of one (at_r, at_i) and instrument"
    " are one book, bids first; an empty book is one record with side and quantity 0.",
    _FIELDS,
)
BOOK_SNAPSHOT = Kind(
    "book_snapshot",
    13,
    "One level of a whole valid book as it stood after LOG record (at_r, at_i). Those of one"
    " position and instrument are one book, bids first; an empty book is one record with side 0.",
    _FIELDS,
)
