"""Anomalies, with what speaks for them."""

from tidemill.schemas.frame import Field, Kind
from tidemill.schemas.kinds.position import AT

EVIDENCE = (
    Field("median", "double", "of a z-score: what is usual"),
    Field("deviation", "double", "of a z-score: what one standard deviation comes to"),
    Field("density", "double", "of half_space_trees: 1 where bars are spread evenly"),
    Field("volume_points", "double", "of pump_and_dump, up to 30: volume above the usual"),
    Field("price_points", "double", "of pump_and_dump, up to 30: the whole rise"),
    Field("rapidity_points", "double", "of pump_and_dump, up to 20: the largest rise of one bar"),
    Field("lost_points", "double", "of pump_and_dump, up to 20: what of the rise is lost again"),
    Field("liquidation_points", "double", "of flash_crash, up to 40: volatility over depth"),
    Field("imbalance_points", "double", "of flash_crash, up to 30: asks over bids"),
    Field("depth_points", "double", "of flash_crash, up to 30: how little lies within 1 %"),
    Field(
        "cascade", "double", "of flash_crash, up to 64: how liquidations would follow each other"
    ),
    Field("volatility", "double", "of flash_crash: natr, % of the close"),
    Field("depth", "double", "of flash_crash: bids and asks within 1 % of mid, in dollars"),
    Field("asks_over_bids", "double", "of flash_crash: their quantities within 1 % of mid"),
)
"""What the score is made of, NaN where it is another detector's."""

ANOMALY = Kind(
    "anomaly",
    21,
    "A detector's score at a bar that closed is of a higher severity than at the bar before, or its"
    " revision took that back. The name of the detectors' set is in the subject. What belongs to"
    " another detector is NaN.",
    (
        *AT,
        Field("ts_open", "int64", "when the bar began", "ns"),
        Field("ts_close", "int64", "when the bar ended", "ns"),
        Field("revision", "uint32", "that of the bar"),
        Field("flags", "uint16", "of the bars that the detector looks back on", enum="BarFlag"),
        Field("sequence", "uint64", "of a bar that closes by what was traded its number, else 0"),
        Field("bars", "char16", "spec of its bars, as 1m"),
        Field("detector", "char48", "its name and parameters, as return_z(60)"),
        Field("severity", "uint8", "how unusual it is", enum="Severity"),
        Field("score", "double", "what the severity follows from"),
        Field("threshold", "double", "from which score on it is told"),
        Field("close", "double", "last price of the bar"),
        *EVIDENCE,
    ),
)
