"""Runs: what a processor's step is given and what it gives back."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tidemill.schemas.events.event import Derived, Event

Records = np.ndarray[Any, np.dtype[np.void]]

FRAMES = np.dtype(
    [
        ("start", "<i8"),  # first record of this frame in Run.records
        ("count", "<i8"),  # its number of records
        ("r", "<u8"),  # LOG sequence of the frame
        ("i", "<u4"),  # index in its frame of the first record
        ("slot", "<i4"),  # row of the key in the state, -1 where it concerns no single instrument
        ("feed", "<i4"),  # row of the feed in Keys, -1 where it concerns no feed (time)
        ("price_exponent", "i1"),
        ("quantity_exponent", "i1"),
    ]
)
"""One row a frame of a run, in logical order; record j of the frame is records[start + j]."""

INSTRUMENT_KINDS = ("SPOT", "PERPETUAL", "FUTURE")

INSTRUMENTS = np.dtype(
    [
        ("partition", "<u1"),
        ("feed", "<i4"),  # row of its feed, -1 until the feed has spoken
        ("pair", "<i4"),  # number of its pair; instruments of one pair share it
        ("venue", "S16"),
        ("product", "S16"),
        ("price_exponent", "i1"),
        ("quantity_exponent", "i1"),
        ("symbol", "S48"),
        ("quote", "S16"),  # the currency that prices are in
        ("kind", "u1"),  # index in INSTRUMENT_KINDS
        ("inverse", "u1"),  # 1: a quantity is so many units of quote, not of base
        ("trading", "u1"),  # 1 unless halted or delisted
        ("multiplier", "<i8"),  # units of base (quote) in a quantity of 1: mantissa
        ("multiplier_exponent", "i1"),
        ("funding_interval_s", "<u4"),  # of a perpetual, 0 where its venue does not say
        ("fees_known", "u1"),  # 1 once LOG has said what its venue's product costs:
        ("taker_ppm", "<i4"),
        ("maker_ppm", "<i4"),
    ]
)
"""One row a slot. Slots of one partition stand in the order in which LOG defined them; numbers of
slots, feeds and pairs are this process's own and must not reach an output."""


class Run(NamedTuple):
    """Records of one kind in logical order, of one key or of many.

    `records` (N,) has the kind's dtype and may hold more than this run; only what `frames` (F,)
    name belongs to it. Low-rate kinds have `events` (one a frame, `records` empty) instead.
    `instruments` (S,) are the slots that exist, `feeds` (venue, product) of the feeds' rows.
    `settings` are what LOG says of the processor's Processor.settings from here on: of each subject
    the newest event, by subject.
    """

    kind: str
    records: Records
    frames: Records
    instruments: Records
    events: Sequence[Event] = ()
    feeds: Sequence[tuple[str, str]] = ()
    settings: tuple[Event, ...] = ()

    def slots(self, index: int) -> list[int]:
        """Return the slots that frame `index` concerns: its own, or all of its feed."""
        slot = int(self.frames["slot"][index])
        if slot >= 0:
            return [slot]
        of_feed = self.instruments["feed"] == self.frames["feed"][index]
        return [int(slot) for slot in np.flatnonzero(of_feed)]

    def inexact_trades(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which frames (F,) are trades whose exponents are not their instrument's."""
        bad = np.zeros(len(self.frames), np.bool_)
        if self.kind == "trade":
            theirs = self.instruments[self.frames["slot"]]
            for name in ("price_exponent", "quantity_exponent"):
                bad |= self.frames[name] != theirs[name]
        return bad


class Emit(NamedTuple):
    """Outputs of one kind in the order they were made; (at_r, at_i) must not fall.

    `records` (N,) is of the kind's dtype with `at_r`, `at_i` set and `n` zero: the runtime numbers
    them. `slots` (N,) int32 says whose they are; `specs` (N,) uint8 indexes Processor.specs.
    For JSON events `events` has N of them instead. `names`: what `specs` indexes where that is
    configuration, at most 256 and the same for all of a kind while it holds.
    """

    kind: str
    slots: np.ndarray[Any, np.dtype[np.int32]]
    specs: np.ndarray[Any, np.dtype[np.uint8]]
    records: Records
    events: Sequence[Derived] = ()
    names: tuple[str, ...] = ()


def join_records(parts: Sequence[Records]) -> Records:
    """Concatenate records (at least one array) of one dtype as bytes.

    Field by field, as NumPy does it with structured arrays, takes up to fifty times as long.
    """
    if len(parts) == 1:  # blocks of a later version are longer than their records
        return np.ascontiguousarray(parts[0])
    whole = np.dtype(f"V{parts[0].dtype.itemsize}")
    return np.concatenate([part.view(whole) for part in parts]).view(parts[0].dtype)
