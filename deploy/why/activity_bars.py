"""Why an activity bar is as it is: its trades, and those before it, which its limits come of."""

from typing import Any

import numpy as np

from tidemill.deploy.why.bars import BUYER
from tidemill.deploy.why.deriving import Record
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
from tidemill.schemas.enums import BarAggregation
from tidemill.schemas.events.feed import FeedConnected, FeedDisconnected
from tidemill.schemas.identifiers import ALL, partition_token

BRICK = int(BarAggregation.RENKO)


async def explain(context: Context, record: Record) -> Explained:
    """Return the trades of a bar and those before, what was said of them, and whether all agrees.

    A bar's place, step and threshold come of every trade before it, so all of those are inputs.
    """
    bar, name = record.raw, record.name
    subject = context.subject("trade", name.venue, name.symbol)
    refused = {(one.at_r, one.at_i) for one in context.found.letters}
    gathered = Gathered("trades of the bar")
    async for message, frame in facts(context, [subject]):
        if frame is not None and frame.kind.name == "trade":
            keep = upto(message, frame, context.cause)
            for r, i in refused:
                if r == message.sequence and i < len(keep):
                    keep[i] = False
            if keep.any():
                gathered.used.append(used(message, frame, keep))
    trades, before = _divided(bar, gathered)
    inputs = [trades.shown(context)]
    if before.used:
        inputs.append(before.shown(context))
    product = context.found.defined[name.venue, name.symbol][1].product
    own = context.subject("event", name.venue, name.symbol)
    of_feed = f"md.event.{name.venue}.{product}.{partition_token(ALL)}"
    heard = [
        (r, event)
        for r, event in await said(context, [own, of_feed])
        if isinstance(event, FeedConnected | FeedDisconnected) or hasattr(event, "ts_to")
    ]
    if heard:
        inputs.append(events_shown("what was said of its feed and trades", heard, context))
    sets = await said(context, ["ctl.activity_bars.*"])
    inputs.append(events_shown("sets of activity bars", sets, context))
    return Explained(inputs, _checks(bar, trades))


def _divided(bar: dict[str, int], gathered: Gathered) -> tuple[Gathered, Gathered]:
    """Return the trades of the bar, at least the last one, and those before them."""
    ids = np.array(gathered.column("trade_id"), np.uint64)
    matching = np.flatnonzero(ids == np.uint64(bar["last_trade_id"]))
    end = int(matching[-1]) + 1 if len(matching) else len(ids)
    first = max(0, end - max(1, bar["trade_count"]))
    place = np.arange(len(ids))
    before = Gathered("trades before it, which its place, step and threshold come of")
    before.used = list(gathered.used)
    before.cut(place < first)
    gathered.cut((place >= first) & (place < end))
    return gathered, before


def _checks(bar: dict[str, int], trades: Gathered) -> list[dict[str, Any]]:
    """Compare what a bar says of its trades with them; a brick's prices are those of the grid."""
    prices, quantities = trades.column("price"), trades.column("quantity")
    ids, sides = trades.column("trade_id"), trades.column("aggressor_side")
    checks = [check("last_trade_id", bar["last_trade_id"], ids[-1])]
    if not bar["trade_count"]:  # a brick after the first one of a trade
        return checks
    each = list(zip(prices, quantities, strict=True))
    sums = {
        "trade_count": len(prices),
        "first_trade_id": ids[0],
        "volume": sum(quantities),
        "quote_volume": sum(p * q for p, q in each),
        "taker_buy_volume": sum(
            q for q, side in zip(quantities, sides, strict=True) if side == BUYER
        ),
    }
    if bar["aggregation"] != BRICK:
        ends = {"open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1]}
        sums |= ends
    return checks + [check(name, bar[name], value) for name, value in sums.items()]
