"""Anomalies of bars, one row each and one more for every revision."""

from pathlib import Path

from tidemill.projections.columns import (
    POSITION,
    SYMBOL,
    VENUE,
    Column,
    number,
    text,
    time,
    uint,
)
from tidemill.projections.table import Table
from tidemill.schemas.enums import Severity
from tidemill.schemas.kinds.anomaly import EVIDENCE

ANOMALIES = Table(
    name="anomalies",
    version=1,
    kind="append",
    database="clickhouse",
    reads="anomaly",
    filters=("anomalies.*.*.*.*",),
    columns=(
        *POSITION,
        Column("detectors", "text", "subject", "spec"),
        SYMBOL,
        VENUE,
        text("bars"),
        time("ts_open"),
        time("ts_close"),
        uint("sequence", 64),
        uint("revision", 32),
        uint("flags", 16),
        text("detector"),
        Column("severity", "enum", enum=Severity),
        number("score"),
        number("threshold"),
        number("close"),
        *(number(field.name) for field in EVIDENCE),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="anomalies",
    key=("detectors", "symbol", "venue", "bars", "detector"),
)
