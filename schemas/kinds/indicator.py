"""Values of indicators over bars."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

INDICATOR = Kind(
    "indicator",
    17,
    "One output of one indicator at one bar that closed, or that was revised while it was newest;"
    " none before the indicator has a value.",
    (
        *AT,
        Field("ts_open", "int64", "when the bar began", "ns"),
        Field("ts_close", "int64", "when the bar ended", "ns"),
        Field("revision", "uint32", "that of the bar"),
        Field("flags", "uint16", "of the bars that its window is made of", enum="BarFlag"),
        Field("indicator", "char48", "its name and parameters, as macd(12,26,9)"),
        Field("output", "char16", "which of its outputs"),
        Field("value", "double", "in units of price and quantity"),
    ),
)
