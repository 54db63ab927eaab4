"""Why a bar is as it is: the trades of its interval that had come by then, all of them."""

import re

import numpy as np

from tidemill.deploy.why.deriving import Record
from tidemill.deploy.why.reading import (
    Context,
    Explained,
    Gathered,
    Mask,
    check,
    events_shown,
    facts,
    said,
    upto,
    used,
)
from tidemill.schemas.enums import AggressorSide
from tidemill.schemas.events import Event
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.feed import FeedConnected, FeedDisconnected
from tidemill.schemas.identifiers import ALL, partition_token

_REFUSED = re.compile(r"(?:trade \d+|a gap) is not in bars of ([^:]*):")
BUYER = int(AggressorSide.BUYER)


async def explain(context: Context, record: Record) -> Explained:
    """Return the trades of a bar, what was said of its feed meanwhile, and whether they agree."""
    bar, name = record.raw, record.name
    begin, end = bar["ts_open"], bar["ts_open"] + bar["interval_s"] * 1_000_000_000
    trades = Gathered("trades of the interval")
    refused = _refused(context.found.letters, name.spec)
    subject = context.subject("trade", name.venue, name.symbol)
    async for message, frame in facts(context, [subject]):
        if frame is None or frame.kind.name != "trade":
            continue
        ts = frame.records["ts_event"]
        keep = upto(message, frame, context.cause) & (ts >= begin) & (ts < end)
        _drop(keep, refused.get(message.sequence))
        if keep.any():
            trades.used.append(used(message, frame, keep))
    product = context.found.defined[name.venue, name.symbol][1].product
    first = trades.used[0].message.sequence if trades.used else context.cause[0]
    heard = await spoken(context, name.venue, name.symbol, product, (first, begin, end))
    inputs = [trades.shown(context, **_sums(trades))]
    if heard:
        inputs.append(events_shown("what was said of its feed and trades", heard, context))
    return Explained(inputs, made_of(bar, trades))


def _refused(letters: list[DeadLetter], spec: str) -> dict[int, list[int | None]]:
    """Return, by `r`, the indices of trades that this interval refused; None for all of a frame."""
    found: dict[int, list[int | None]] = {}
    for letter in letters:
        match = _REFUSED.match(letter.reason)
        if match is None:
            found.setdefault(letter.at_r, []).append(None)
        elif spec in match[1].split(","):
            found.setdefault(letter.at_r, []).append(letter.at_i)
    return found


def _drop(keep: Mask, refused: list[int | None] | None) -> None:
    for index in refused or ():
        if index is None:
            keep[:] = False
        else:
            keep[index] = False


async def spoken(
    context: Context, venue: str, symbol: str, product: str, bounds: tuple[int, int, int]
) -> list[tuple[int, Event]]:
    """Return what can have set its flags: gaps that touch it; connections since the last one before
    its first trade."""
    first, begin, end = bounds
    own = context.subject("event", venue, symbol)
    heard = await said(context, [own, f"md.event.{venue}.{product}.{partition_token(ALL)}"])
    links = [r for r, e in heard if isinstance(e, FeedConnected | FeedDisconnected) and r < first]
    since = max(links, default=0)
    found = []
    for r, event in heard:
        ts_from, ts_to = getattr(event, "ts_from", None), getattr(event, "ts_to", None)
        if ts_from is not None and ts_to is not None:
            wanted = begin <= ts_to and ts_from < end
        else:
            wanted = isinstance(event, FeedConnected | FeedDisconnected) and r >= since
        if wanted:
            found.append((r, event))
    return found


def _sums(trades: Gathered) -> dict[str, int]:
    prices, quantities = trades.column("price"), trades.column("quantity")
    sides = trades.column("aggressor_side")
    return {
        "volume": sum(quantities),
        "quote_volume": sum(p * q for p, q in zip(prices, quantities, strict=True)),
        "taker_buy_volume": sum(
            q for q, side in zip(quantities, sides, strict=True) if side == BUYER
        ),
    }


def made_of(bar: dict[str, int], trades: Gathered) -> list[dict[str, object]]:
    """Compare all that a bar says of its trades with them."""
    checks = [check("trade_count", bar["trade_count"], len(trades))]
    if not len(trades):
        return checks
    checks += [check(name, bar[name], value) for name, value in _sums(trades).items()]
    prices, ids = trades.column("price"), np.array(trades.column("trade_id"), np.uint64)
    last = len(ids) - 1 - int(np.argmax(ids[::-1]))  # of equal ids the last one
    ends = {"first_trade_id": int(ids.min()), "last_trade_id": int(ids.max())}
    values = {
        "open": prices[int(np.argmin(ids))],
        "high": max(prices),
        "low": min(prices),
        "close": prices[last],
        **ends,
    }
    return checks + [check(name, bar[name], value) for name, value in values.items()]
