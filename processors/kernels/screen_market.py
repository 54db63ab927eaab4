"""What conditions say beside bars: an instrument's book and contract, as they were told last.

Of a book that is not VALID, or has one side only, nothing is known; of a contract what its venue
gave. A revision of a bar is judged by what was known when the bar closed.
"""

from typing import Any

import numpy as np

from tidemill.processors.kernels.bar_columns import scaled
from tidemill.schemas.enums import BookState
from tidemill.schemas.run import Records, Run
from tidemill.schemas.screening.language import BOOK_FIELDS

Block = np.ndarray[Any, np.dtype[np.float64]]
_NANO, _PICO = 1e9, 1e12
# Bits of a contract's `fields`, by the order of the values of kind `derivative`.
_MARK, _INDEX, _FUNDING, _INTEREST = 1, 2, 4, 32


def hear(state: Records, run: Run) -> None:
    """Keep the newest of each instrument's book or contract metrics; `state` (S,) changes."""
    slots = run.frames["slot"]
    last = np.sort(len(slots) - 1 - np.unique(slots[::-1], return_index=True)[1])
    frames, slots = run.frames[last], slots[last]
    told = run.records[frames["start"]]
    if run.kind == "book_metrics":
        values, first = _of_book(told, frames), 0
    else:
        values, first = _of_contract(told, frames), len(BOOK_FIELDS)
    places = np.arange(first, first + values.shape[1])
    known = ~np.isnan(values)
    state["market"][slots[:, np.newaxis], places] = np.where(known, values, 0.0)
    state["known"][slots[:, np.newaxis], places] = known


def _of_book(told: Records, frames: Records) -> Block:
    """Return BOOK_FIELDS (N, 5), NaN where nothing is known."""
    price = frames["price_exponent"].astype(np.int64)
    notional = price + frames["quantity_exponent"]
    values = np.stack(
        [
            scaled(told["spread"].astype(np.float64), price),
            scaled(_wide(told, "bid_depth_1") + _wide(told, "ask_depth_1"), notional),
            scaled(_wide(told, "bid_depth_5") + _wide(told, "ask_depth_5"), notional),
            told["imbalance"] / _NANO,
            told["liquidity_score"].astype(np.float64),
        ],
        axis=1,
    )
    sides = (told["bid_quantity"] > 0) & (told["ask_quantity"] > 0)
    values[~(sides & (told["state"] == int(BookState.VALID)))] = np.nan
    return values


def _of_contract(told: Records, frames: Records) -> Block:
    """Return the rest of MARKET_FIELDS (N, 3), NaN where a value was never given."""
    price = frames["price_exponent"].astype(np.int64)
    quantity = frames["quantity_exponent"].astype(np.int64)
    given = told["fields"]
    values = np.stack(
        [
            told["funding_rate"] / _PICO,
            scaled(told["open_interest"].astype(np.float64), quantity),
            scaled(told["basis"].astype(np.float64), price),
        ],
        axis=1,
    )
    for k, bits in enumerate((_FUNDING, _INTEREST, _MARK | _INDEX)):
        values[given & bits != bits, k] = np.nan
    return values


def _wide(told: Records, name: str) -> Any:
    return told[f"{name}_hi"].astype(np.float64) * 2.0**64 + told[f"{name}_lo"].astype(np.float64)
