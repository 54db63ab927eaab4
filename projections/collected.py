"""Rows that wait to become inserts: cut at whole roots, by size, by span and by age."""

import time

import numpy as np

from tidemill.projections.limits import Limits
from tidemill.projections.rows import Rows
from tidemill.projections.sources import Batch, Mark

PULL_TIMEOUT_S = 0.5

Due = tuple[list[Rows], int, Mark | None]
"""Rows (none: only progress), the root they are complete up to, and where to read on from."""


class Collected:
    """Rows that wait to become blocks, cut at whole roots."""

    def __init__(self, limits: Limits, done: int) -> None:
        self._limits = limits
        self._parts: list[Rows] = []
        self._count = 0
        self._done = self._told = done
        self._mark = Mark(0, 1)
        self._cut_at = time.monotonic()

    def add(self, batch: Batch, mark: Mark) -> None:
        if batch.rows is not None:
            self._parts.append(batch.rows)
            self._count += batch.rows.count
        self._done, self._mark = batch.done, mark

    @property
    def due_s(self) -> float:
        """How long what comes may be left to come together before it is read."""
        return max(0.0, self._cut_at + self._limits.period_s - time.monotonic())

    def ready(self, busy: bool) -> list[Due]:
        """Return (rows, done, mark) of each block that is due, in order.

        While an insert is in flight (`busy`) rows are collected until a block is full: low load
        gives latency, high load gives large blocks, which cost ClickHouse far less a row.
        """
        if self._count < self._limits.rows_max and (busy or self.due_s > 0):
            return []
        if self._parts:
            return self._cut()
        if self._done == self._told:
            return []
        self._cut_at, self._told = time.monotonic(), self._done
        return [([], self._done, self._mark)]

    def _cut(self) -> list[Due]:
        roots = np.concatenate([part.array("_r") for part in self._parts])
        borders = cuts(roots, self._limits)
        pieces = [_between(self._parts, start, end) for start, end in borders]
        dues = [int(roots[b - 1]) for _, b in borders]
        dues[-1] = self._told = self._done
        self._parts, self._count, self._cut_at = [], 0, time.monotonic()
        # A mark holds for roots after it, so only the last block may carry this one.
        marks: list[Mark | None] = [*([None] * (len(pieces) - 1)), self._mark]
        return list(zip(pieces, dues, marks, strict=True))


def _between(parts: list[Rows], start: int, end: int) -> list[Rows]:
    """Return the rows `start` to `end` of all `parts`, counted through."""
    found, at = [], 0
    for part in parts:
        first, last = max(start - at, 0), min(end - at, part.count)
        if first < last:
            found.append(part.take(slice(first, last)))
        at += part.count
    return found


def cuts(
    roots: np.ndarray[tuple[int], np.dtype[np.uint64]], limits: Limits
) -> list[tuple[int, int]]:
    """Return the borders of blocks: whole roots, at most `roots_max` spanned and `rows_max` rows.

    One root with more rows than that is a block of its own.
    """
    borders, start = [], 0
    while start < len(roots):
        beyond = roots[start] + np.uint64(limits.roots_max)
        end = min(int(np.searchsorted(roots, beyond)), start + limits.rows_max)
        if end < len(roots):
            whole = int(np.searchsorted(roots, roots[end]))  # where the root at the border begins
            end = whole if whole > start else int(np.searchsorted(roots, roots[end], "right"))
        borders.append((start, end))
        start = end
    return borders
