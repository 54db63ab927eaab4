"""Instrument definitions, version 2: contracts too, with all that a venue says of them."""

from dataclasses import replace
from pathlib import Path

from tidemill.projections.columns import decimal, integer, text, time
from tidemill.projections.postgres.instruments import INSTRUMENTS

INSTRUMENTS_V2 = replace(
    INSTRUMENTS,
    version=2,
    columns=(
        *INSTRUMENTS.columns,
        text("kind"),
        text("settle"),
        integer("inverse"),
        text("raw_symbol"),
        decimal("contract_multiplier"),
        integer("funding_interval_s", 64),
        time("ts_listed"),
        time("ts_expires"),
    ),
    sql=Path(__file__).with_suffix(".sql"),
)
