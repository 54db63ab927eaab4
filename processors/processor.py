"""What a processor is: a name, what it reads and emits, a state per key, and a pure step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tidemill.schemas.run import FRAMES, INSTRUMENTS, Emit, Records, Run

__all__ = ["FRAMES", "INSTRUMENTS", "Emit", "Processor", "Records", "Run"]


@dataclass(frozen=True)
class Processor:
    """A pure step over state, and what the runtime must know to place, feed and commit it.

    `state` is the packed dtype of one key's row; rows begin as zeros, and a snapshot is their
    bytes. `step(state, run)` changes `state` (S,) in place and returns what it emits; any split
    of the same input gives the same state and outputs. `key` says what a row belongs to: an
    instrument (Run.instruments) or a feed. `subject` names outputs: by instrument, pair or feed.
    `exponents` are those of its frames (price, quantity); None: the instrument's own.
    `settings` are what it is told by configuration: the <what> of ``ctl.<what>.>`` (Run.settings).
    `check(run)` may return a bool mask (F,) of frames to dead-letter *before* they are stepped.
    """

    name: str
    version: int
    scope: Literal["pair", "account", "global"]
    reads: tuple[str, ...]
    emits: tuple[str, ...]
    state: np.dtype[np.void]
    step: Callable[[Records, Run], list[Emit]]
    key: Literal["instrument", "feed"] = "instrument"
    subject: Literal["instrument", "pair", "feed"] = "instrument"
    specs: tuple[str, ...] = ("",)
    exponents: tuple[int, int] | None = None
    settings: tuple[str, ...] = ()
    poison: Literal["halt", "park", "skip"] = "halt"
    check: Callable[[Run], np.ndarray[Any, np.dtype[np.bool_]]] | None = field(default=None)
