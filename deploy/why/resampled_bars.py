"""Why a resampled bar is as it is: the bars that it is made of, and their trades."""

from typing import Any

import numpy as np

from tidemill.deploy.why.bars import made_of, spoken
from tidemill.deploy.why.deriving import GRAPH, Record, records
from tidemill.deploy.why.following import messages
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    Gathered,
    check,
    events_shown,
    facts,
    upto,
    used,
)
from tidemill.processors.bars import BARS
from tidemill.processors.kernels.resampled_state import TARGETS
from tidemill.streams import subjects
from tidemill.streams.runtime import control
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import filters

SUMS = ("volume", "quote_volume", "taker_buy_volume", "trade_count")


async def explain(context: Context, record: Record) -> Explained:
    """Return the parts of a bar, the trades of its interval, what was said of its feed meanwhile,
    and whether they agree."""
    bar, name = record.raw, record.name
    begin, end = bar["ts_open"], bar["ts_close"]
    source = TARGETS[name.spec].source
    trades = Gathered("trades of the interval")
    async for message, frame in facts(context, [context.subject("trade", name.venue, name.symbol)]):
        if frame is None or frame.kind.name != "trade":
            continue
        ts = frame.records["ts_event"]
        keep = upto(message, frame, context.cause) & (ts >= begin) & (ts < end)
        if keep.any():
            trades.used.append(used(message, frame, keep))
    versions = await _versions(context, record, source)
    parts = _newest(versions)
    if bar["trade_count"] < len(trades):
        # It closed at a late trade, before that trade revised it: at one position both are told.
        parts = _newest([one for one in versions if one.at[:2] < context.cause])
        trades.cut(~_of_cause(trades, context.cause))
    product = context.found.defined[name.venue, name.symbol][1].product
    first = trades.used[0].message.sequence if trades.used else context.cause[0]
    heard = await spoken(context, name.venue, name.symbol, product, (first, begin, end))
    inputs = [trades.shown(context), _shown(source, parts)]
    if heard:
        inputs.append(events_shown("what was said of its feed and trades", heard, context))
    return Explained(inputs, [*made_of(bar, trades), *_checks(bar, parts)])


async def _versions(context: Context, record: Record, source: str) -> list[Record]:
    """Derive the bars of the source again, up to the cause; return those of the interval, every
    revision, as they were told."""
    made, name = context.found.made, record.name
    begin, end = record.raw["ts_open"], record.raw["ts_close"]
    last = context.cause[0]
    skips = (await control.read(context.log, GRAPH, last)).skips
    engine = Engine(Graph(GRAPH, [BARS]), {made.partition}, skips)
    subject = subjects.derived("bars", source, name.venue, name.symbol, made.partition)
    found = []
    async for batch in messages(context.log, filters({made.partition}), last):
        for output in engine.step(batch):
            if output.subject == subject:
                found += [
                    one
                    for one in records(subject, output.payload)
                    if begin <= one.raw["ts_open"] < end and one.at[:2] <= context.cause
                ]
    return found


def _newest(versions: list[Record]) -> list[Record]:
    newest = {one.raw["ts_open"]: one for one in versions}
    return [newest[ts_open] for ts_open in sorted(newest)]


def _of_cause(trades: Gathered, cause: tuple[int, int]) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which of the trades is the record that was stepped."""
    masks = [(one.places == cause[1]) & (one.message.sequence == cause[0]) for one in trades.used]
    return np.concatenate(masks) if masks else np.zeros(0, np.bool_)


def _shown(source: str, parts: list[Record]) -> dict[str, Any]:
    """Name its parts; each can be asked about in turn."""
    return {
        "role": f"bars {source} of the interval",
        "records": len(parts),
        "parts": [{"bar": f"bars:{one.at.r},{one.at.i},{one.at.n}", **one.shown} for one in parts],
    }


def _checks(bar: dict[str, int], parts: list[Record]) -> list[dict[str, Any]]:
    each = [part.raw for part in parts]
    return [
        check(f"{name} of its parts", bar[name], sum(part[name] for part in each)) for name in SUMS
    ]
