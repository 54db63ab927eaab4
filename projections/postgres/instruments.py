"""Instrument definitions over time: each row is valid for roots in [_r, r_to)."""

from pathlib import Path

from tidemill.projections.columns import POSITION, decimal, integer, text, time
from tidemill.projections.table import Table
from tidemill.schemas.events.instrument import InstrumentDefined

INSTRUMENTS = Table(
    name="instruments",
    version=1,
    kind="ledger",
    database="postgres",
    reads=InstrumentDefined,
    filters=("md.instrument.*.*.*",),
    columns=(
        *POSITION,
        text("symbol"),
        text("venue"),
        text("product"),
        text("base"),
        text("quote"),
        text("status"),
        integer("price_exponent"),
        integer("quantity_exponent"),
        decimal("tick_size"),
        decimal("lot_size"),
        decimal("min_notional"),
        time("ts_event"),
        text("source"),
    ),
    sql=Path(__file__).with_suffix(".sql"),
)
