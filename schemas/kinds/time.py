"""Time as a fact: the only clock that processors have."""

from tidemill.schemas.frame import Field, Kind

TIME = Kind(
    "time",
    4,
    "The time, appended every 100 ms by one fenced writer.",
    (Field("ts", "int64", "our clock, never falling", "ns"),),
)
