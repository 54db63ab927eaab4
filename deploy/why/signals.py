"""Why a signal is as it is: its screen, what every bar before came of, and its score's terms."""

import re

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.facts import Shown
from tidemill.deploy.why.indicators import of_bars
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    Gathered,
    check,
    events_shown,
    facts,
    said,
    upto,
    used,
)
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.kinds.signal import POINTS
from tidemill.schemas.screening.language import MARKET_FIELDS


async def explain(context: Context, record: Record) -> Explained:
    """Return the screen, and the instrument's trades, statuses and events up to the cause.

    The checks are that the screen is in force and watches the instrument and its bars, and that the
    score is the sum of its terms; the signal itself was derived from LOG again before.
    """
    row, name = record.raw, record.name
    screens = [
        (r, event)
        for r, event in await said(context, [f"ctl.screens.{name.spec}"])
        if isinstance(event, ScreenDefined | ScreenRemoved)
    ]
    newest = screens[-1][1] if screens else None
    patterns = {f"{name.symbol}.{name.venue}", f"*.{name.venue}", "*"}
    watches = (
        isinstance(newest, ScreenDefined)
        and not patterns.isdisjoint(newest.instruments)
        and newest.bars == row["bars"]
    )
    checks = [check("its screen watches these bars", True, watches)]
    if row["score"] == row["score"]:  # NaN, where there is none yet
        terms = 50.0 + sum(row[points] for points in POINTS)
        checks.append(check("score", min(100.0, max(0.0, terms)), row["score"]))
    inputs = [events_shown("the screen", screens, context), *await of_bars(context, record)]
    if isinstance(newest, ScreenDefined) and any(
        re.search(rf"\b{field}\b", newest.condition) for field in MARKET_FIELDS
    ):
        inputs += await of_market(context, record)
    return Explained(inputs, checks)


async def of_market(context: Context, record: Record) -> list[Shown]:
    """Return what the instrument's book and contract came of, up to the cause, beside what was said
    of its feed."""
    name = record.name
    own = [context.subject(kind, name.venue, name.symbol) for kind in ("book", "derivative")]
    books, contracts = Gathered("its book's messages"), Gathered("its contract's values")
    clock = Gathered("when books and contracts were told")
    gathered = {"book": books, "derivative": contracts, "time": clock}
    async for message, frame in facts(context, [*own, "time"]):
        if frame is not None and frame.kind.name in gathered:
            keep = upto(message, frame, context.cause)
            gathered[frame.kind.name].used.append(used(message, frame, keep))
    return [one.shown(context) for one in (books, contracts, clock)]
