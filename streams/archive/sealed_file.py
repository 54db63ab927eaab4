"""One file of the archive, read a row group at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # the package ships no types
from pyarrow import parquet
from pydantic import ValidationError

from tidemill.schemas.errors import Regressed
from tidemill.streams.archive import chain
from tidemill.streams.archive.segment import LASTS_KEY, RANGE_KEY, Range, range_of, unpacked
from tidemill.streams.archive.store import Store
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Message

READ_BYTES = 4 << 20


class Checked(NamedTuple):
    """A file that was read from its first to its last byte: what it holds, and its own digest."""

    range: Range
    file_bytes: int
    file_sha256: str


class SealedFile:
    """An open file. Everything raises Regressed where it is damaged or gone, Unavailable."""

    def __init__(self, store: Store, name: str) -> None:
        self._where = store.path(name)
        with self._intact():
            self._file = store.read(name)
            self._parquet = parquet.ParquetFile(self._file, page_checksum_verification=True)
            self._metadata: dict[bytes, bytes] = self._parquet.metadata.metadata or {}
            self.range = Range.model_validate_json(self._metadata[RANGE_KEY])
        rows = [self._parquet.metadata.row_group(at).num_rows for at in range(self.groups)]
        self._ends: list[int] = [self.range.r0 + end for end in accumulate(rows)]
        held = (self.range.r0, self._ends[-1] - 1 if self._ends else 0)
        if not (held == (self.range.r0, self.range.r1) == range_of(name)):
            raise self._damaged(f"it holds {held[0]} to {held[1]}")

    @property
    def groups(self) -> int:
        """Number of row groups."""
        count: int = self._parquet.metadata.num_row_groups
        return count

    @cached_property
    def lasts(self) -> dict[str, int]:
        """The newest sequence of every subject of LOG up to the end of this file."""
        with self._intact():
            return unpacked(self._metadata[LASTS_KEY])

    def has(self, matcher: Matcher) -> bool:
        """Return whether some message of this file is taken."""
        if matcher.takes_all:
            return True
        first = self.range.r0
        return any(r >= first and matcher.taken(subject) for subject, r in self.lasts.items())

    def group_of(self, r: int) -> int:
        """Return the row group that holds sequence `r`, or that the first after it begins."""
        return next((at for at, end in enumerate(self._ends) if r < end), self.groups)

    def end_of(self, group: int) -> int:
        """Return the last sequence of a row group."""
        return int(self._ends[group]) - 1

    def read(self, group: int, matcher: Matcher, start: int = 0) -> list[Message]:
        """Return the messages of a row group that are taken and have sequence >= `start`."""
        with self._intact():
            codes, subjects = self._subjects(group)
            first = self._ends[group] - len(codes)
            skipped = max(start - first, 0)
            wanted = np.array([matcher.taken(one) for one in subjects], np.bool_)[codes]
            wanted[:skipped] = False
            index = np.flatnonzero(wanted)
            if not len(index):
                return []
            payloads = self._column(group, "payload")
            if len(index) < len(codes):
                payloads = payloads.take(pa.array(index))
            names = [subjects[code] for code in codes[index].tolist()]
            found = zip((index + first).tolist(), names, payloads.to_pylist(), strict=True)
            return list(map(Message._make, found))

    def _subjects(self, group: int) -> tuple[np.ndarray[Any, np.dtype[np.int32]], list[str]]:
        column = self._column(group, "subject")
        return column.indices.to_numpy(), column.dictionary.to_pylist()

    def _column(self, group: int, name: str) -> Any:
        table = self._parquet.read_row_group(group, columns=[name], use_threads=False)
        column = table.column(0).unify_dictionaries().combine_chunks()
        return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column

    def until(self, group: int, end: int) -> list[Message]:
        """Return the messages of a row group with sequence < `end`."""
        if self._ends[group - 1] >= end if group else self.range.r0 >= end:
            return []
        return [m for m in self.read(group, Matcher((">",))) if m.sequence < end]

    def get(self, r: int) -> Message:
        """Return the message `r`, which this file holds."""
        group = self.group_of(r)
        found = self.read(group, Matcher((">",)), r)
        return found[0]

    def check(self) -> Checked:
        """Read every byte. Raises Regressed unless it is what its metadata says."""
        with self._intact():
            size, digest = self._digest()
        digests, everything = bytes.fromhex(self.range.before), Matcher((">",))
        seen: dict[str, int] = {}
        for group in range(self.groups):
            messages = self.read(group, everything)
            digests = chain.extend(digests, messages)
            seen.update((message.subject, message.sequence) for message in messages)
            with self._intact():
                sequences = self._column(group, "r").to_numpy()
            first = self._ends[group] - len(messages)
            if not np.array_equal(sequences, np.arange(first, self._ends[group], dtype=np.uint64)):
                raise self._damaged("its sequences have a hole")
        if digests.hex() != self.range.chain:
            raise self._damaged("its messages are not those of its digest chain")
        if seen != {s: r for s, r in self.lasts.items() if r >= self.range.r0}:
            raise self._damaged("its newest messages are not those of its index")
        return Checked(self.range, size, digest)

    def _digest(self) -> tuple[int, str]:
        digest = sha256()
        self._file.seek(0)
        while block := self._file.read(READ_BYTES):
            digest.update(block)
        return self._file.tell(), digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._parquet.close()
        self._file.close()

    @contextmanager
    def _intact(self) -> Iterator[None]:
        try:
            yield
        except (OSError, KeyError, ValueError, ValidationError, pa.ArrowException) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, reason: str) -> Regressed:
        return Regressed(f"ARCHIVE DAMAGED: {self._where}: {reason}: restore this file")


@contextmanager
def opened(store: Store, name: str) -> Iterator[SealedFile]:
    """Open a file for the length of a block."""
    file = SealedFile(store, name)
    try:
        yield file
    finally:
        file.close()
