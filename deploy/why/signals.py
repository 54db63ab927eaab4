"""Why a signal is as it is: its screen, what every bar before came of, and its score's terms."""

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.indicators import of_bars
from tidemill.deploy.why.reading import Context, Explained, check, events_shown, said
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.kinds.signal import POINTS


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
    return Explained(inputs, checks)
