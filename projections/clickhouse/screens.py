"""Screens as LOG defined, changed and removed them, one row each."""

from pathlib import Path
from typing import Any

from tidemill.projections.columns import POSITION, text
from tidemill.projections.table import Table
from tidemill.schemas.events.screens import OfScreen, ScreenDefined

REMOVED, DEFINED = "REMOVED", "DEFINED"


def fields(event: OfScreen) -> dict[str, Any]:
    """Return what the columns of an event's row are filled from: of one that ends a screen its name
    alone. A screen without a condition is of the score."""
    row = {"name": event.name, "status": REMOVED}
    if not isinstance(event, ScreenDefined):
        return row | dict.fromkeys(("instruments", "bars", "condition"), "")
    said = {"instruments": ",".join(event.instruments), "condition": event.condition}
    return row | said | {"status": DEFINED, "bars": event.bars}


SCREENS = Table(
    name="screens",
    version=1,
    kind="append",
    database="clickhouse",
    reads=OfScreen,
    filters=("ctl.screens.*",),
    columns=(
        *POSITION,
        text("name"),
        text("status"),
        text("instruments"),
        text("bars"),
        text("condition"),
    ),
    sql=Path(__file__).with_suffix(".sql"),
    key=("name",),
    fields=fields,
)
