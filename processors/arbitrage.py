"""Arbitrage over the venues of a pair: what buying at one and selling at another earns after fees.

Each way between two instruments of a pair is one opportunity while it earns anything: both books
are walked against each other, level by level, as long as a unit more earns its fees; so `quantity`
is the size that is really there, within the 20 levels that are known (BOUNDED where they end).
Sizes are base units: a venue's quantities times its contract multiplier, rounded down to 1e-8.

Who takes part: spot and perpetual instruments that are trading and not inverse, the first 32 of a
pair, by a VALID book whose newest message, or, where LOG has no book, by a quote that was received
within 30 s of `time` (QUOTED). Between spot and perpetual it is a hedge: BASIS.

Fees are facts: `FeesDefined` on ``ctl.fees.<VENUE>.<PRODUCT>`` counts from its own position on. The
fee of a product that LOG says nothing of counts as 0, and the opportunity says FEES_UNKNOWN: what
it earns is an upper bound. A default of ours would be a number that no venue asked for.

OPENED and CLOSED are told at the first `time` after their cause, which is also when a book or quote
is 30 s old to the second; CHANGED at most once a second. A closed one has no sizes.
"""

from functools import lru_cache

import numpy as np

from tidemill.processors.kernels import arbitrage as kernel
from tidemill.processors.kernels.arbitrage_state import PRICE_EXPONENT, QUANTITY_EXPONENT, STATE
from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.enums import Legs

SPECS = tuple(legs.name.lower() for legs in Legs)


def step(state: Records, run: Run) -> list[Emit]:
    """Take one run of book metrics, levels, quotes or times; `state` (S,) changes in place."""
    match run.kind:
        case "book_metrics":
            kernel.see_metrics(state, run.frames, run.records)
        case "book_level":
            kernel.see_levels(state, run.frames, run.records, run.instruments)
        case "quote":
            kernel.see_quotes(state, run.frames, run.records, run.instruments)
        case "time":
            return _opportunities(state, run)
        case _:
            raise ValueError(f"arbitrage does not read {run.kind}")
    return []


@lru_cache(maxsize=64)
def _pairs(numbers: bytes) -> kernel.Pairs:
    """Group the instruments by pair, pairs in the order in which LOG first defined one.

    `numbers` are the int32 of INSTRUMENTS; grouping them takes as long as looking at ten pairs.
    """
    by_slot = np.frombuffer(numbers, "<i4")
    _, first, pair = np.unique(by_slot, return_index=True, return_inverse=True)
    order = np.argsort(first[pair], kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(pair)[np.argsort(first)])])
    return kernel.Pairs(order.astype(np.int64), starts.astype(np.int64))


def _opportunities(state: Records, run: Run) -> list[Emit]:
    pairs = _pairs(run.instruments["pair"].tobytes())
    out, count = kernel.tell_opportunities(state, run.frames, run.records, run.instruments, pairs)
    if count == 0:
        return []
    records, (bought, sold) = out.records[:count], out.slots[:count].T
    for side, slots in (("buy", bought), ("sell", sold)):
        records[f"{side}_venue"] = run.instruments["venue"][slots]
        records[f"{side}_symbol"] = run.instruments["symbol"][slots]
    return [Emit("opportunity", bought.copy(), records["legs"].astype(np.uint8), records)]


ARBITRAGE = Processor(
    name="arbitrage",
    version=1,
    scope="pair",
    reads=("book_level", "book_metrics", "quote", "time"),
    emits=("opportunity",),
    state=STATE,
    step=step,
    subject="pair",
    specs=SPECS,
    exponents=(PRICE_EXPONENT, QUANTITY_EXPONENT),
    poison="skip",
)
