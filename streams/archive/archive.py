"""The sealed files of one LOG: how they tile it from its first message on, and what they hold."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property

from tidemill.schemas.errors import Regressed
from tidemill.schemas.events.archive import RangeSealed
from tidemill.streams.archive.sealed_file import SealedFile, opened
from tidemill.streams.archive.segment import Range, range_of
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Message


class Archive:
    """Files that hold LOG's messages 1 to `end`, all of them. It never changes: open it anew.

    Everything here blocks. Raises Regressed where a file is damaged or gone, Unavailable.
    """

    def __init__(self, store: Store, names: Sequence[str], log: str) -> None:
        self.store = store
        self.names = tuple(names)
        self.log = log
        self._ends = [range_of(name)[1] for name in names]
        self.end = self._ends[-1] if names else 0

    @classmethod
    def attested(cls, store: Store, sealed: RangeSealed) -> "Archive":
        """Open what LOG's newest RangeSealed attests; files after it are not sealed yet."""
        found = cls(store, tiling(store, store.names(), sealed.file), sealed.log)
        told = (sealed.log, sealed.r0, sealed.r1, sealed.chain)
        if (found.newest.log, found.newest.r0, found.newest.r1, found.newest.chain) != told:
            raise Regressed(
                f"LOG REGRESSED: {store.path(sealed.file)} is not the file that LOG says was sealed"
            )
        return found

    @classmethod
    def unattested(cls, store: Store) -> "Archive":
        """Open what there is, without LOG: the longest tiling of one log."""
        names = store.names()
        for name in sorted(names, key=lambda name: range_of(name)[1], reverse=True):
            try:
                tiles = tiling(store, names, name)
            except Regressed:
                continue  # it was renamed, but never sealed
            with opened(store, name) as file:
                return cls(store, tiles, file.range.log)
        return cls(store, (), "")

    @cached_property
    def newest(self) -> Range:
        """What the newest file holds."""
        return self.range(self.names[-1])

    @cached_property
    def lasts(self) -> dict[str, int]:
        """The newest sealed sequence of every subject."""
        if not self.names:
            return {}
        with opened(self.store, self.names[-1]) as file:
            return file.lasts

    def range(self, name: str) -> Range:
        """Return what one file says that it holds."""
        with opened(self.store, name) as file:
            return file.range

    def file_of(self, r: int) -> str:
        """Return the name of the file that holds sequence `r`, 1 <= r <= `end`."""
        return self.names[bisect_left(self._ends, r)]

    def open_file(self, r: int, chain: str = "") -> SealedFile:
        """Open the file that holds sequence `r`; the caller closes it. It follows the one that ends
        with `chain`, where that is given."""
        file = SealedFile(self.store, self.file_of(r))
        if file.range.log != self.log:
            file.close()
            raise Regressed(
                f"ARCHIVE DAMAGED: {self.file_of(r)} is of log {file.range.log}, not {self.log}"
            )
        if chain not in ("", file.range.before):
            file.close()
            path = self.store.path(self.file_of(r))
            raise Regressed(f"ARCHIVE DAMAGED: {path} does not follow the one before it")
        return file

    def linked(self, r: int = 1) -> None:
        """Read what files say that they hold, from the one with sequence `r` on. Raises Regressed
        unless each follows the one before it."""
        chain = ""
        while r <= self.end:
            file = self.open_file(r, chain)
            file.close()
            r, chain = file.range.r1 + 1, file.range.chain

    def get(self, r: int) -> Message:
        """Return one message, 1 <= r <= `end`."""
        file = self.open_file(r)
        try:
            return file.get(r)
        finally:
            file.close()


def tiling(store: Store, names: Sequence[str], newest: str) -> list[str]:
    """Return the files that lead from message 1 to the end of `newest`, in order.

    A file that was renamed but never sealed is in no tiling, or says the same as those that are.
    Raises Regressed where there is a hole.
    """
    by_end: dict[int, list[str]] = {}
    for name in names:
        by_end.setdefault(range_of(name)[1], []).append(name)
    found, first = [newest], range_of(newest)[0]
    if newest not in names:
        raise Regressed(f"ARCHIVE DAMAGED: {store.path(newest)} is gone: restore it")
    while first > 1:
        before = by_end.get(first - 1)
        if not before:
            what = f"{store.path('')} has no file that ends at {first - 1}"
            raise Regressed(f"ARCHIVE DAMAGED: {what}: restore it")
        found.append(max(before))
        first = range_of(found[-1])[0]
    return found[::-1]
