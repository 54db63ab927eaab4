"""Why an indicator is as it is: the sets that ask for it, and what every bar before came of."""

from tidemill.deploy.why.composite_bars import composites_of, definitions, members_of
from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.facts import Shown
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
from tidemill.processors.kernels.indicator_state import SPECS, plan
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.schemas.identifiers import ALL, InstrumentId, partition_token


async def explain(context: Context, record: Record) -> Explained:
    """Return the sets, and the instrument's trades, statuses and events up to the cause.

    Every bar since it began counts, so everything that made a bar does. The check is that a set in
    force asks for it; the value itself was derived from LOG again before this is called.
    """
    name = record.name
    sets = [
        (r, event)
        for r, event in await said(context, ["ctl.indicators.*"])
        if isinstance(event, IndicatorSetDefined | IndicatorSetRemoved)
    ]
    inputs = [events_shown("sets of indicators", sets, context), *await of_bars(context, record)]
    newest = {event.name: event for _, event in sets}
    in_force = tuple(
        one for _, one in sorted(newest.items()) if isinstance(one, IndicatorSetDefined)
    )
    asks = any(
        (one.name, SPECS[one.spec]) == (record.raw["indicator"], name.spec)
        for one in plan(in_force, name.symbol, name.venue).wanted
    )
    return Explained(inputs, [check("a set asks for it", True, asks)])


async def of_bars(context: Context, record: Record) -> list[Shown]:
    """Return what every bar of a record's instrument came of, up to the cause."""
    name = record.name
    members, shown = [InstrumentId(name.symbol, name.venue)], list[Shown]()
    composites = await composites_of(context, record)
    if composites:
        members = members_of(composites)
        shown = [events_shown("composites", composites, context), *definitions(context, members)]
    trades, clock = Gathered("trades, which its bars came of"), Gathered("when bars could close")
    wanted = ["time"] if composites else []
    for member in members:
        wanted += [one for kind in ("trade", "status") for one in _subjects(context, kind, member)]
    async for message, frame in facts(context, list(dict.fromkeys(wanted))):
        if frame is not None:
            keep = upto(message, frame, context.cause)
            gathered = trades if frame.kind.name == "trade" else clock
            gathered.used.append(used(message, frame, keep))
    shown = [trades.shown(context), clock.shown(context), *shown]
    of_events = [one for member in members for one in _subjects(context, "event", member)]
    if heard := await said(context, of_events):
        shown.append(events_shown("what was said of its feed and trades", heard, context))
    if asked := await said(context, ["ctl.activity_bars.*"]):
        shown.append(events_shown("sets of activity bars", asked, context))
    return shown


def _subjects(context: Context, kind: str, one: InstrumentId) -> list[str]:
    """Return where facts of a kind travel that concern an instrument, none where LOG does not know
    it."""
    known = context.found.defined.get((one.venue, one.symbol))
    if known is None:
        return []
    of_feed = f"md.{kind}.{one.venue}.{known[1].product}.{partition_token(ALL)}"
    return [context.subject(kind, one.venue, one.symbol), of_feed]
