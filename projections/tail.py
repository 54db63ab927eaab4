"""The tail of a table against the log: which rows are missing, and that none is wrong."""

from collections import deque

import numpy as np

from tidemill.projections.rows import Rows
from tidemill.schemas.errors import Regressed


class Tail:
    """The newest whole roots of a log that one insert can have held.

    An insert that may be incomplete contains the newest root of the table, spans at most
    `roots_max` roots (so it begins at `lowest`) and has at most `rows_max` rows unless it is one
    root. Whatever is too old for that is let go, so that memory stays bounded.
    """

    def __init__(self, newest: int, roots_max: int, rows_max: int) -> None:
        self.newest, self.lowest = newest, max(1, newest - roots_max + 1)
        self._rows_max = rows_max
        self._parts: deque[Rows] = deque()
        self._count = 0

    def take(self, rows: Rows) -> Rows | None:
        """Keep the rows up to the newest root; return those after it."""
        roots = rows.array("_r")
        kept = int(np.searchsorted(roots, np.uint64(self.newest), side="right"))
        if kept:
            self._parts.append(rows.take(slice(0, kept)))
            self._count += kept
            self._let_go()
        return rows.take(slice(kept, rows.count)) if kept < rows.count else None

    def _let_go(self) -> None:
        while len(self._parts) > 1 and self._count - self._parts[0].count > self._rows_max:
            gone = self._parts.popleft()
            self._count -= gone.count
            # Of a root that straddles two batches (none does) both halves would go.
            self.lowest = int(gone.array("_r")[-1]) + 1

    @property
    def parts(self) -> list[Rows]:
        """The rows that were kept, in logical order; all roots are >= `lowest`."""
        return list(self._parts)


def missing(expected: Rows, have: Rows | None) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the indexes of `expected` rows whose position is not in `have`.

    Raises Regressed where the table has a row twice, or one that the log does not have.
    """
    found = have.count if have is not None else 0
    keys = [
        np.concatenate([expected.array(name), have.array(name)]) if have else expected.array(name)
        for name in ("_r", "_i", "_n")
    ]
    order = np.lexsort((keys[2], keys[1], keys[0]))
    first = np.ones(len(order), np.bool_)
    first[1:] = np.any([key[order][1:] != key[order][:-1] for key in keys], axis=0)
    group = np.cumsum(first) - 1
    size = int(group[-1]) + 1 if len(group) else 0
    in_log = np.bincount(group[order < expected.count], minlength=size)
    in_table = np.bincount(group[order >= expected.count], minlength=size)
    if (in_log > 1).any():
        raise ValueError("the log gives two rows one position")
    wrong = (in_table > 1) | (in_log == 0)
    if found and wrong.any():
        at = order[np.flatnonzero(first)[np.flatnonzero(wrong)[0]]]
        raise Regressed(
            f"row {tuple(int(key[at]) for key in keys)} stands twice in the table, or has no"
            " source in the log: rebuild the table"
        )
    of_row = np.empty(len(order), np.int64)
    of_row[order] = group
    return np.flatnonzero(in_table[of_row[: expected.count]] == 0)
