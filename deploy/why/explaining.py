"""An explanation of one event, down to the raw frames: what it is, what made it, of what."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from tidemill.deploy.why import (
    activity_bars,
    anomalies,
    bars,
    books,
    composite_bars,
    derivatives,
    feeds,
    indicators,
    opportunities,
    prices,
    resampled_bars,
    signals,
)
from tidemill.deploy.why.deriving import Found, Record, derive, records
from tidemill.deploy.why.facts import Held, Shown, get, whole
from tidemill.deploy.why.naming import Fact, Made, Sent
from tidemill.deploy.why.reading import FRAMES_SHOWN, Context, Explained
from tidemill.processors.catalog import PROCESSORS
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.filters import matches
from tidemill.streams.log import Log
from tidemill.streams.subjects import parse

EXPLAIN: Mapping[str, Callable[[Context, Record], Awaitable[Explained]]] = {
    "bar": bars.explain,
    "activity_bar": activity_bars.explain,
    "resampled_bar": resampled_bars.explain,
    "composite_bar": composite_bars.explain,
    "indicator": indicators.explain,
    "signal": signals.explain,
    "anomaly": anomalies.explain,
    "price": prices.explain,
    "book_metrics": books.explain,
    "book_level": books.explain,
    "book_snapshot": books.explain,
    "opportunity": opportunities.explain,
    "derivative_metrics": derivatives.explain,
    "feed": feeds.explain,
    "dead_letter": feeds.explain_letter,
}
"""How each kind of derived record is explained. A test asks that every kind has its line."""


async def explain(
    log: Log, out: Log, named: Iterable[Fact | Sent | Made], frames_shown: int = FRAMES_SHOWN
) -> Shown:
    """Return the explanation of the first of `named` that there is.

    Keys: event (name, kind, subject, record), processor, cause, inputs, checks, holds; of a fact
    event alone. Raises ValueError where there is no such event; Unreadable where deriving halts
    before it; Unavailable; Regressed.
    """
    reasons = []
    for one in named:
        try:
            if isinstance(one, Fact):
                return await _fact(log, one)
            if isinstance(one, Sent):
                return await _sent(log, out, one, frames_shown)
            return await _made(log, one, None, frames_shown)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError("; ".join(reasons))


async def _held(log: Log) -> Held:
    if isinstance(log, ArchivedLog):
        return Held((await log.identity_of_log()).first)
    return Held((await log.identity()).first)


async def _fact(log: Log, fact: Fact) -> Shown:
    message = await get(log, fact.r)
    if fact.filters and not any(matches(one, message.subject) for one in fact.filters):
        raise ValueError(f"r={fact.r} is on {message.subject}: no row of {fact.filters[0]}")
    shown = whole(message, await _held(log), fact.i)
    name = f"LOG:{fact.r}" if fact.i is None else f"LOG:{fact.r},{fact.i}"
    why = "a fact: LOG is where it begins"
    return {"event": {"name": name, **shown}, "why": why, "checks": [], "holds": True}


async def _sent(log: Log, out: Log, sent: Sent, frames_shown: int) -> Shown:
    """Explain what a message of OUT holds, and compare it with what is derived again."""
    message = await out.get(sent.sequence)
    if message is None:
        raise ValueError(f"OUT has no message {sent.sequence}: it ends at {await _end(out)}")
    if message.subject.startswith("ckpt."):
        raise ValueError(f"OUT:{sent.sequence} is a checkpoint: it is made of nothing but progress")
    held = list(records(message.subject, message.payload))
    if sent.i is None and len(held) != 1:
        raise ValueError(
            f"OUT:{sent.sequence} holds {len(held)} records: say which, as OUT:{sent.sequence},0"
        )
    index = sent.i or 0
    if index >= len(held):
        raise ValueError(f"OUT:{sent.sequence} holds {len(held)} records, none of index {index}")
    record = held[index]
    return await _made(log, _named(record), record, frames_shown)


async def _end(out: Log) -> int:
    return (await out.identity()).last


def _named(record: Record) -> Made:
    """Return what made a record of OUT: by its kind, a dead letter by its subject."""
    name = parse(record.subject)
    for processor in PROCESSORS:
        wanted = (
            name.spec == processor.name
            if name.kind == "dead_letter"
            else (name.kind in processor.emits)
        )
        if wanted:
            return Made(processor, name.kind, record.at)
    raise ValueError(f"no processor of this version makes {record.subject}")


async def _made(log: Log, made: Made, sent: Record | None, frames_shown: int) -> Shown:
    found = await derive(log, made)
    if found is None:
        last = (await log.identity()).last
        raise ValueError(
            f"{made.name}: the facts of LOG up to {min(made.at.r, last)} make no such {made.kind}"
        )
    held = await _held(log)
    context = Context(log, found, held, made.at[:2], frames_shown)
    cause = await get(log, made.at.r)
    explained = await EXPLAIN[made.kind](context, found.record)
    checks = explained.checks
    if sent is not None:
        same = (sent.subject, sent.shown) == (found.record.subject, found.record.shown)
        what = "OUT holds what the facts make"
        checks = [{"what": what, "event": same, "inputs": True, "holds": same}, *checks]
    return {
        "event": {
            "name": made.name,
            "kind": made.kind,
            "subject": found.record.subject,
            "record": found.record.shown,
        },
        "processor": {
            "name": made.processor.name,
            "version": made.processor.version,
            "depth": found.depth,
            "reads": list(made.processor.reads),
        },
        "cause": whole(cause, held, made.at.i),
        "inputs": [*explained.inputs, *_definitions(found)],
        "checks": checks,
        "holds": _hold(checks) and all(_hold(one.get("checks", ())) for one in explained.inputs),
    }


def _hold(checks: Iterable[Mapping[str, Any]]) -> bool:
    return all(one["holds"] for one in checks)


def _definitions(found: Found) -> list[Shown]:
    """Return the definitions of the instruments that an event names."""
    name, shown = found.record.name, found.record.shown
    wanted = {(name.venue, name.symbol)}
    wanted |= {(shown.get(f"{s}_venue", ""), shown.get(f"{s}_symbol", "")) for s in ("buy", "sell")}
    listed = []
    for (venue, symbol), (r, defined) in sorted(found.defined.items()):
        if (venue, symbol) in wanted or (name.venue == "ALL" and defined.pair == name.symbol):
            listed.append(
                {"role": f"definition of {symbol}.{venue}", "records": 1, "first": {"r": r}}
            )
    return listed
