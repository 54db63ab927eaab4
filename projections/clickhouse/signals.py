"""Signals of screens, and the scores of bars, one row each and one more for every revision."""

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
from tidemill.schemas.enums import (
    Momentum,
    Recommendation,
    ScreenTrend,
    SignalStatus,
    Volatility,
)
from tidemill.schemas.kinds.signal import INDICATORS, POINTS

SIGNALS = Table(
    name="signals",
    version=1,
    kind="append",
    database="clickhouse",
    reads="signal",
    filters=("signals.*.*.*.*",),
    columns=(
        *POSITION,
        Column("screen", "text", "subject", "spec"),
        SYMBOL,
        VENUE,
        text("bars"),
        time("ts_open"),
        time("ts_close"),
        uint("sequence", 64),
        uint("revision", 32),
        uint("flags", 16),
        Column("status", "enum", enum=SignalStatus),
        Column("recommendation", "enum", enum=Recommendation),
        Column("trend", "enum", enum=ScreenTrend),
        Column("momentum", "enum", enum=Momentum),
        Column("volatility", "enum", enum=Volatility),
        number("score"),
        *(number(name) for name in POINTS),
        number("close"),
        *(number(name) for name in INDICATORS),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    emitted_by="screener",
    key=("screen", "symbol", "venue", "bars"),
)
