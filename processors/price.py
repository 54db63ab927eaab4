"""The price of a pair over its venues, once a second while any of them is fresh.

Only spot instruments have part: a contract names the pair, but its price is another. A venue is
fresh while its last trade or quote was received within 30 s of `time`; one with a fresh quote shows
its bid and ask, and one that has traded counts: its own trades of the last 24 hours, in one-minute
buckets by event time, and its last price. The volume-weighted price is quote volume over volume;
the mean is the sum of last prices over `venues`, which are those that count. Where venues are equal
the first by name is named, so the order of venues does not matter.

One record a pair and second of `time`, at the first record of that second, whether anything changed
or not: readers get a steady series. No record while no venue is fresh.

Sums are exact at the fixed exponents -10 and -8. A trade or quote that cannot be written so (finer,
or a price from 922,337,204 on) is not counted, and the pair's prices carry GAP for a day, as after
a declared or suspected gap; a quote of that kind hides its venue's bid and ask. PARTIAL: a venue
that counts has been seen for less than 24 hours. STALE: a venue of the pair is left out because it
is not fresh.
"""

from functools import lru_cache

import numpy as np

from tidemill.processors.kernels import prices as kernel
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared, TradeGapSuspected
from tidemill.schemas.run import INSTRUMENTS

_WHO = ("high_venue", "low_venue", "best_bid_venue", "best_ask_venue")


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of trades, quotes, feed events or times; `state` (S,) changes in place."""
    match run.kind:
        case "trade":
            kernel.count_trades(state, run.frames, run.records, _pairs(run.instruments))
        case "quote":
            kernel.see_quotes(state, run.frames, run.records, _pairs(run.instruments))
        case "event":
            _note_gaps(state, run)
        case "time":
            return _prices(state, run)
        case _:
            raise ValueError(f"price does not read {run.kind}")
    return []


def _pairs(instruments: Records) -> kernel.Pairs:
    columns = (instruments[name].tobytes() for name in ("pair", "product", "venue"))
    return _grouped(*columns)


@lru_cache(maxsize=64)
def _grouped(pairs: bytes, products: bytes, venues: bytes) -> kernel.Pairs:
    """Group the spot instruments by pair, pairs in the order in which LOG first defined one.

    The arguments are columns of INSTRUMENTS: they rarely change, and every run needs the groups.
    """
    spot = np.frombuffer(products, INSTRUMENTS["product"]) == b"SPOT"
    slots = np.flatnonzero(spot)
    by_slot = np.frombuffer(pairs, INSTRUMENTS["pair"])[slots]
    _, first, pair = np.unique(by_slot, return_index=True, return_inverse=True)
    order = np.argsort(first[pair], kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(pair)[np.argsort(first)])])
    ranks = np.unique(np.frombuffer(venues, INSTRUMENTS["venue"]), return_inverse=True)[1]
    return kernel.Pairs(slots[order], starts.astype(np.int64), ranks.astype(np.int64), spot)


def _note_gaps(state: Records, run: Run) -> None:
    for frame, event in zip(run.frames, run.events, strict=True):
        match event:
            case TradeGapDeclared() | TradeGapSuspected() if frame["slot"] >= 0:
                kernel.note_gap(state, int(frame["slot"]), event.ts_to)
            case RecordsGivenUp():
                for slot in np.flatnonzero(run.instruments["feed"] == frame["feed"]):
                    kernel.note_gap(state, int(slot), event.ts_to)


def _prices(state: Records, run: Run) -> list[Emit]:
    out, count = kernel.tell_prices(state, run.frames, run.records, _pairs(run.instruments))
    if count == 0:
        return []
    venues = np.append(run.instruments["venue"], b"")  # the last one is nobody's
    records = out.prices[:count]
    for name, slots in zip(_WHO, out.who[:count].T, strict=True):
        records[name] = venues[slots]
    return [Emit("price", out.slots[:count], np.zeros(count, np.uint8), records)]


PRICE = Processor(
    name="price",
    version=1,
    scope="pair",
    reads=("trade", "quote", "time", "event"),
    emits=("price",),
    state=kernel.STATE,
    step=step,
    subject="pair",
    specs=("24h",),
    exponents=(kernel.PRICE_EXPONENT, kernel.QUANTITY_EXPONENT),
    poison="skip",
)
