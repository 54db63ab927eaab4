"""Frames into rows: columns of NumPy arrays, a batch at a time, no Python per row."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.projections.columns import Column
from tidemill.projections.table import Table
from tidemill.schemas import exact
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events import Derived, Event
from tidemill.schemas.frame import Frame, Kind
from tidemill.schemas.run import join_records
from tidemill.streams.subjects import Subject

Array = NDArray[Any]
_LEAST, _MOST = -(2**63), 2**63 - 1
EXACT = Context(prec=100, traps=[Inexact])
"""Decimal arithmetic that never rounds (the default context keeps 28 digits)."""


class Text(NamedTuple):
    """A column of names: `values[codes[k]]` (UTF-8) is row k's. `codes` (N,) is uint32."""

    codes: NDArray[np.uint32]
    values: tuple[bytes, ...]


class Piece(NamedTuple):
    """One frame on its way to rows: its sequence in its stream, its subject, and itself.

    `first` is the index in the frame of the first record that is kept.
    """

    sequence: int
    subject: Subject
    frame: Frame
    first: int = 0


@dataclass(frozen=True)
class Rows:
    """`count` rows. Integers and times are (N,) arrays, decimals exact.INT128 (N,), names Text.

    A time that is not given is ``schemas.kinds.quote.TS_NONE``.
    """

    count: int
    columns: dict[str, Array | Text]

    def array(self, name: str) -> Array:
        """Return a column that is no text."""
        column = self.columns[name]
        assert not isinstance(column, Text)
        return column

    def take(self, index: Array | slice) -> "Rows":
        """Return the rows of `index`: positions, a mask or a slice."""
        columns = {
            name: Text(column.codes[index], column.values)
            if isinstance(column, Text)
            else column[index]
            for name, column in self.columns.items()
        }
        first = columns["_r"]
        return Rows(len(first.codes if isinstance(first, Text) else first), columns)

    def ordered(self) -> "Rows":
        """Return them in logical order, (_r, _i, _n)."""
        order = np.lexsort((self.array("_n"), self.array("_i"), self.array("_r")))
        return self.take(order)

    @property
    def bytes(self) -> int:
        """Memory of the columns."""
        return sum((c.codes if isinstance(c, Text) else c).nbytes for c in self.columns.values())


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Join rows of one table, in the order given; at least one part."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Array | Text] = {}
    for name, first in parts[0].columns.items():
        if isinstance(first, Text):
            columns[name] = _join_text([part.columns[name] for part in parts])
        else:
            columns[name] = np.concatenate([part.array(name) for part in parts])
    return Rows(sum(part.count for part in parts), columns)


def _join_text(texts: Sequence[Array | Text]) -> Text:
    codes, values = join([text for text in texts if isinstance(text, Text)])
    return Text(np.concatenate(codes), values)


def join(texts: Sequence[Text]) -> tuple[list[NDArray[np.uint32]], tuple[bytes, ...]]:
    """Return the codes of each column of names, and the values that they all index."""
    numbers: dict[bytes, int] = {}
    known: dict[tuple[bytes, ...], NDArray[np.uint32]] = {}
    codes = []
    for text in texts:
        if text.values not in known:
            own = [numbers.setdefault(value, len(numbers)) for value in text.values]
            known[text.values] = np.array(own, np.uint32)
        codes.append(known[text.values][text.codes])
    return codes, tuple(numbers)


SPAN_ROWS_MIN = 32
"""Rows of one symbol in a row, on average, from which on they are moved together."""


def grouped(parts: Sequence[Rows]) -> list[Rows]:
    """Return rows by symbol and venue, in the same order within: ClickHouse finds them sorted.

    Sorting is most of what an insert costs it (half, measured on 130,000 trades). Dense rows come
    a frame at a time, so spans of one symbol are put in order, not rows, and nothing is copied.
    """
    names = [n for n in ("symbol", "venue") if isinstance(parts[0].columns.get(n), Text)]
    spans: list[tuple[tuple[bytes, ...], Rows]] = []
    for part in parts:
        texts = [text for n in names if isinstance(text := part.columns[n], Text)]
        change = np.zeros(max(0, part.count - 1), np.bool_)
        for text in texts:
            change |= text.codes[1:] != text.codes[:-1]
        borders = [0, *(np.flatnonzero(change) + 1).tolist(), part.count]
        if len(borders) * SPAN_ROWS_MIN > part.count:
            return [_sorted(concatenate(parts), names)]
        for start, end in pairwise(borders):
            key = tuple(text.values[text.codes[start]] for text in texts)
            spans.append((key, part.take(slice(start, end))))
    spans.sort(key=lambda span: span[0])
    return [rows for _, rows in spans]


def _sorted(rows: Rows, names: Sequence[str]) -> Rows:
    rank = np.zeros(rows.count, np.uint64)
    for name in names:
        column = rows.columns[name]
        assert isinstance(column, Text)
        places = np.empty(len(column.values), np.uint64)
        places[sorted(range(len(column.values)), key=column.values.__getitem__)] = np.arange(
            len(column.values), dtype=np.uint64
        )
        rank = (rank << np.uint64(32)) | places[column.codes]
    if np.all(rank[1:] >= rank[:-1]):
        return rows
    return rows.take(np.argsort(rank, kind="stable"))


def build(table: Table, pieces: Sequence[Piece]) -> Rows:
    """Return the rows of `pieces` (at least one), in their order.

    Of a fact, (_r, _i, _n) is (its sequence in LOG, its index in the frame, 0); of a derived
    record what it carries. Raises Unreadable where a number does not fit Decimal(38, 18).
    """
    frames = [piece.frame for piece in pieces]
    counts = np.array([len(frame.records) for frame in frames])
    records = join_records([frame.records for frame in frames])
    columns: dict[str, Array | Text] = {}
    for column in table.columns:
        if column.source == "position":
            columns[column.name] = _position(table, column.name, records, pieces, counts)
        elif column.source == "subject":
            columns[column.name] = _subject(column, pieces, counts)
        elif column.kind == "decimal":
            columns[column.name] = _decimal(column, records, frames, counts)
        elif column.kind == "text":
            columns[column.name] = _names(records[column.origin])
        else:
            columns[column.name] = np.ascontiguousarray(records[column.origin])
    return Rows(len(records), columns)


def build_of_events(table: Table, events: Sequence[tuple[int, Event]]) -> Rows:
    """Return a row for each (r, event), low-rate JSON events.

    Of a fact (_r, _i, _n) is (r, 0, 0); of a derived event it is what that carries.
    """
    fields = [table.fields(event) if table.fields else vars(event) for _, event in events]
    positions = [
        (event.at_r, event.at_i, event.n) if isinstance(event, Derived) else (r, 0, 0)
        for r, event in events
    ]
    columns: dict[str, Array | Text] = {}
    for column in table.columns:
        if column.source == "position":
            at = ("_r", "_i", "_n").index(column.name)
            values: list[Any] = [position[at] for position in positions]
        else:
            values = [of_one[column.origin] for of_one in fields]
        columns[column.name] = _of_values(column, values)
    return Rows(len(events), columns)


def _of_values(column: Column, values: list[Any]) -> Array | Text:
    match column.kind:
        case "text":
            return text_of([str(value).encode() for value in values])
        case "decimal":
            return exact.from_ints([_at_scale(str(value)) for value in values])
        case "time" | "time_or_null" | "int64":
            # A number beyond is kept as the end that it is nearest to: its event still has a row.
            return np.array([min(max(value, _LEAST), _MOST) for value in values], np.int64)
        case "enum":
            raise ValueError(f"{column.name}: no {column.kind} from events")
        case _:
            return np.array(values, column.kind)


def _at_scale(text: str) -> int:
    """Return an exact number's integer at 18 decimals; more decimals than that are refused."""
    scaled = EXACT.scaleb(Decimal(text), exact.SCALE)
    if scaled != int(scaled):
        raise Unreadable(f"{text} has more than {exact.SCALE} decimals")
    return int(scaled)


def text_of(values: Sequence[bytes]) -> Text:
    """Return a column of names from its values row by row."""
    numbers: dict[bytes, int] = {}
    codes = [numbers.setdefault(value, len(numbers)) for value in values]
    return Text(np.array(codes, np.uint32), tuple(numbers))


def newest(rows: Rows, key: Sequence[str], order: Sequence[str]) -> Rows:
    """Return of each key the row that is greatest by `order`, in logical order."""
    index = np.lexsort([rows.array(name) for name in reversed(order)])
    group = np.zeros(rows.count, np.int64)
    for name in key:
        column = rows.columns[name]
        own = np.unique(column.codes if isinstance(column, Text) else column, return_inverse=True)[
            1
        ]
        group = np.unique(group * (int(own.max()) + 1) + own, return_inverse=True)[1]
    last = np.empty(int(group.max()) + 1, np.int64)
    last[group[index]] = index  # of one key the last assignment stays
    return rows.take(last).ordered()


def _position(
    table: Table, name: str, records: Array, pieces: Sequence[Piece], counts: Array
) -> Array:
    if table.emitted_by is not None:
        return np.ascontiguousarray(records[{"_r": "at_r", "_i": "at_i", "_n": "n"}[name]])
    if name == "_r":
        return np.repeat(np.array([piece.sequence for piece in pieces], np.uint64), counts)
    if name == "_n":
        return np.zeros(len(records), np.uint32)
    starts = np.cumsum(counts) - counts - np.array([piece.first for piece in pieces])
    index: Array = np.arange(len(records)) - np.repeat(starts, counts)
    return index.astype(np.uint32)


def _subject(column: Column, pieces: Sequence[Piece], counts: Array) -> Text:
    numbers: dict[str, int] = {}
    own = [
        numbers.setdefault(getattr(piece.subject, column.origin), len(numbers)) for piece in pieces
    ]
    codes = np.repeat(np.array(own, np.uint32), counts)
    return Text(codes, tuple(value.encode() for value in numbers))


def _names(field: Array) -> Text:
    values, codes = np.unique(field, return_inverse=True)
    return Text(codes.astype(np.uint32), tuple(values.tolist()))


def _decimal(
    column: Column, records: Array, frames: Sequence[Frame], counts: Array
) -> NDArray[np.void]:
    """Scale a field by the exponents of the frames; few different ones, so a call for each."""
    name = column.origin
    if column.exponent is not None:
        return exact.scaled_field(records, name, column.exponent)
    exponents = _exponents(frames, name)
    if (exponents == exponents[0]).all():
        return exact.scaled_field(records, name, int(exponents[0]))
    out = np.empty(len(records), exact.INT128)
    of_row = np.repeat(exponents, counts)
    for exponent in np.unique(exponents):
        mask = of_row == exponent
        out[mask] = exact.scaled_field(records[mask], name, int(exponent))
    return out


@cache
def _units(kind: Kind) -> dict[str, str]:
    return {field.name: field.unit for field in kind.fields}


def _exponents(frames: Sequence[Frame], name: str) -> Array:
    """Return the exponent of each frame that the unit of a field names."""
    match _units(frames[0].kind)[name]:
        case "price":
            found = [frame.price_exponent for frame in frames]
        case "quantity":
            found = [frame.quantity_exponent for frame in frames]
        case "notional":
            found = [frame.price_exponent + frame.quantity_exponent for frame in frames]
        case unit:
            raise ValueError(f"{frames[0].kind.name}.{name} in {unit!r} is no exact number")
    return np.array(found)
