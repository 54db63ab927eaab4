"""What a venue says of a derivative besides trades and quotes."""

from tidemill.schemas.frame import Field, Kind

DERIVATIVE = Kind(
    "derivative",
    7,
    "Mark and index price, funding and open interest; `fields` says which of them were given.",
    (
        Field("ts_event", "int64", "when it changed, by the venue's clock", "ns"),
        Field("ts_recv", "int64", "when it was received, by our clock", "ns"),
        Field("mark_price", "int64", "mark price", "price"),
        Field("index_price", "int64", "index price", "price"),
        Field("funding_rate", "int64", "funding rate of one interval, in 1e-12"),
        Field("next_funding_time", "int64", "when it is paid", "ns"),
        Field("funding_interval_s", "uint32", "length of a funding interval in seconds"),
        Field("open_interest", "int64", "open interest, in base units or contracts", "quantity"),
        Field("fields", "uint16", "bit k set: the k-th of the six values before was given"),
        Field("flags", "uint16", "what else is known of it", enum="RecordFlag"),
    ),
)
