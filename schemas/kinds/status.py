"""How far a feed has come in the venue's time, and whether it holds back closing."""

from tidemill.schemas.frame import Field, Kind

STATUS = Kind(
    "status",
    3,
    "Progress of a feed: of a venue's product (partition all) or of one instrument (a hold).",
    (
        Field("venue_time", "int64", "venue's clock now, estimated, never falling", "ns"),
        Field("ts_recv", "int64", "our clock when this was made", "ns"),
        Field("hold", "uint8", "1 while a hole is being filled: bars must not close by time"),
    ),
)
