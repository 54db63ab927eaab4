"""Why a composite's bar is as it is: its members' bars, and their trades."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from tidemill.deploy.why.bars import spoken
from tidemill.deploy.why.deriving import GRAPH, Record, records
from tidemill.deploy.why.facts import Shown
from tidemill.deploy.why.following import messages
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
from tidemill.processors.bars import BARS
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.event import Event
from tidemill.schemas.identifiers import ALL, InstrumentId, partition_token
from tidemill.streams import subjects
from tidemill.streams.runtime import control
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import filters

SUMS = ("volume", "quote_volume", "taker_buy_volume", "trade_count")
Versions = dict[InstrumentId, list[Record]]


async def explain(context: Context, record: Record) -> Explained:
    """Return the members' trades of the interval, their bars, what was said of their feeds
    meanwhile and when bars could close, and whether the bars give this one."""
    bar = record.raw
    begin, end = bar["ts_open"], bar["ts_open"] + bar["interval_s"] * 1_000_000_000
    composites = await composites_of(context, record)
    members = members_of(composites)
    inputs: list[Shown] = []
    first = context.cause[0]
    for member in members:
        trades = await _trades(context, member, begin, end)
        if trades.used:
            inputs.append(trades.shown(context))
            first = min(first, trades.used[0].message.sequence)
    versions = await _versions(context, record, members)
    parts = _parts(bar, versions, context.cause)
    inputs.append(_shown(record.name.spec, parts))
    for member in members:
        if (member.venue, member.symbol) in context.found.defined:
            what = context.found.defined[member.venue, member.symbol][1].product
            if heard := await spoken(context, *member[::-1], what, (first, begin, end)):
                inputs.append(events_shown(f"what was said of {member}", heard, context))
    inputs.append((await clock(context, members, first)).shown(context))
    inputs += [events_shown("composites", composites, context), *definitions(context, members)]
    return Explained(inputs, _checks(context, record, parts))


async def composites_of(context: Context, record: Record) -> list[tuple[int, Event]]:
    """Return the facts of the composite whose instrument a record is of, up to the cause."""
    own = f"{record.name.symbol}.{record.name.venue}"
    every = await said(context, ["ctl.composites.*"])
    names = [e.name for _, e in every if isinstance(e, CompositeDefined) and e.instrument == own]
    kinds = CompositeDefined | CompositeRemoved
    return [(r, event) for r, event in every if isinstance(event, kinds) and event.name in names]


def members_of(composites: Sequence[tuple[int, Event]]) -> list[InstrumentId]:
    """Return who was a member ever, those of the newest fact first."""
    newest = [event for _, event in reversed(composites) if isinstance(event, CompositeDefined)]
    return list(dict.fromkeys(member for event in newest for member in event.member_ids))


async def clock(context: Context, members: Sequence[InstrumentId], first: int) -> Gathered:
    """Return what says when bars of members close: statuses and times from `first` on, and before
    it the times with which a composite began."""
    found = Gathered("when bars could close")
    wanted = ["time"]
    for one in members:
        if (one.venue, one.symbol) in context.found.defined:
            what = context.found.defined[one.venue, one.symbol][1].product
            wanted += [
                context.subject("status", one.venue, one.symbol),
                f"md.status.{one.venue}.{what}.{partition_token(ALL)}",
            ]
    begun = False
    async for message, frame in facts(context, ["ctl.composites.*", *dict.fromkeys(wanted)]):
        if message.subject.startswith("ctl."):
            begun = False
        elif frame is not None and (message.sequence >= first or not begun):
            begun = begun or message.subject == "time"
            found.used.append(used(message, frame, upto(message, frame, context.cause)))
    return found


def definitions(context: Context, members: Sequence[InstrumentId]) -> list[Shown]:
    """Return the definitions of members."""
    return [
        {"role": f"definition of {member}", "records": 1, "first": {"r": known[0]}}
        for member in members
        if (known := context.found.defined.get((member.venue, member.symbol))) is not None
    ]


async def _trades(context: Context, member: InstrumentId, begin: int, end: int) -> Gathered:
    found = Gathered(f"trades of {member}")
    subject = context.subject("trade", member.venue, member.symbol)
    async for message, frame in facts(context, [subject]):
        if frame is not None and frame.kind.name == "trade":
            ts = frame.records["ts_event"]
            keep = upto(message, frame, context.cause) & (ts >= begin) & (ts < end)
            if np.any(keep):
                found.used.append(used(message, frame, keep))
    return found


async def _versions(
    context: Context, record: Record, members: Sequence[InstrumentId]
) -> dict[InstrumentId, list[Record]]:
    """Derive the members' bars of the interval again; return every revision up to the cause."""
    made, name, last = context.found.made, record.name, context.cause[0]
    skips = (await control.read(context.log, GRAPH, last)).skips
    engine = Engine(Graph(GRAPH, [BARS]), {made.partition}, skips)
    wanted = {
        subjects.derived("bars", name.spec, one.venue, one.symbol, made.partition): one
        for one in members
    }
    found: Versions = {one: [] for one in members}
    async for batch in messages(context.log, filters({made.partition}), last):
        for output in engine.step(batch):
            if output.subject in wanted:
                found[wanted[output.subject]] += [
                    one
                    for one in records(output.subject, output.payload)
                    if one.raw["ts_open"] == record.raw["ts_open"] and one.at[:2] <= context.cause
                ]
    return found


def _parts(bar: dict[str, Any], versions: Versions, cause: tuple[int, int]) -> list[Record]:
    """Return the bar of each venue that is in it. Where the cause told one twice, as it closed and
    as it was revised, the one of which the composite has as many trades."""
    inside = bar["venues"].split(",")
    mine = {one.venue: told for one, told in versions.items() if one.venue in inside and told}
    choices = []
    for venue in inside:
        told = mine.get(venue, [])
        at_cause = [one for one in told if one.at[:2] == cause]
        choices.append([*reversed(at_cause), *told[len(told) - len(at_cause) - 1 :][:1]])
    ways = [list(way) for way in product(*choices)]
    for way in ways:
        if sum(part.raw["trade_count"] for part in way) == bar["trade_count"]:
            return way
    return ways[0] if ways else []


def _shown(spec: str, parts: list[Record]) -> Shown:
    """Name its parts; each can be asked about in turn."""
    return {
        "role": f"bars {spec} of its venues",
        "records": len(parts),
        "parts": [{"bar": f"bars:{one.at.r},{one.at.i},{one.at.n}", **one.shown} for one in parts],
    }


def _checks(context: Context, record: Record, parts: list[Record]) -> list[dict[str, Any]]:
    assert record.frame is not None
    mine = record.frame.price_exponent, record.frame.quantity_exponent
    scaled = []
    for part in parts:
        assert part.frame is not None
        price = 10 ** (part.frame.price_exponent - mine[0])
        quantity = 10 ** (part.frame.quantity_exponent - mine[1])
        units = dict.fromkeys(("open", "high", "low", "close"), price) | {
            "volume": quantity,
            "taker_buy_volume": quantity,
            "quote_volume": price * quantity,
            "trade_count": 1,
        }
        scaled.append({name: part.raw[name] * unit for name, unit in units.items()})
    bar = record.raw
    found = {name: sum(one[name] for one in scaled) for name in SUMS}
    found["high"] = max((one["high"] for one in scaled), default=0)
    found["low"] = min((one["low"] for one in scaled), default=0)
    for name in ("open", "close"):
        found[name] = scaled[0][name] if scaled else 0
    checks = [check(f"{name} of its parts", bar[name], value) for name, value in found.items()]
    venues = ",".join(part.name.venue for part in parts)
    return [*checks, check("venues", bar["venues"], venues)]
