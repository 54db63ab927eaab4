"""Frames as Arrow: a column a field, exact numbers exact, times as times, names for numbers."""

import logging
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # the package ships no types

from tidemill.schemas import enums, exact, kinds
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.frame import INT64_NULL, Field, Frame, Kind
from tidemill.streams.log import Message
from tidemill.streams.subjects import Subject, parse

logger = logging.getLogger(__name__)

DECIMAL = pa.decimal128(exact.DIGITS_MAX, exact.SCALE)
TIME = pa.timestamp("ns", tz="UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
Found = list[tuple[int, Subject, Frame]]
Array = np.ndarray[Any, Any]


def schema(kind: Kind) -> Any:
    """Return the columns of a kind: r, i, symbol, venue, then its fields."""
    position = [("r", pa.uint64()), ("i", pa.uint32()), ("symbol", NAME), ("venue", NAME)]
    return pa.schema([*position, *((field.name, _type(field)) for field in kind.fields)])


def _type(field: Field) -> Any:
    if field.unit in ("price", "quantity", "notional"):
        return DECIMAL
    if field.unit == "ns":
        return TIME
    if _names(field) or field.type.startswith("char"):
        return NAME
    return pa.from_numpy_dtype(np.dtype(field.type))


def _names(field: Field) -> type[IntEnum] | None:
    """The names of a field's numbers; flags have none, they stay numbers."""
    found = getattr(enums, field.enum) if field.enum else None
    return found if isinstance(found, type) and issubclass(found, IntEnum) else None


def batch(kind: Kind, messages: Iterable[Message]) -> Any:
    """Return the records of a kind in `messages` as a RecordBatch, or None without any.

    What will never decode has no records, as in every table. Raises Unreadable for a number that
    decimal128(38, 18) cannot hold.
    """
    found = _decoded(kind, messages)
    if not found:
        return None
    frames = [frame for _, _, frame in found]
    counts = np.array([len(frame.records) for frame in frames])
    records = np.concatenate([frame.records for frame in frames])
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    columns = [
        pa.array(np.repeat(np.array([r for r, _, _ in found], np.uint64), counts)),
        pa.array((np.arange(len(records)) - starts).astype(np.uint32)),
        _repeated([subject.symbol for _, subject, _ in found], counts),
        _repeated([subject.venue for _, subject, _ in found], counts),
        *(_column(field, records, frames, counts) for field in kind.fields),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema(kind))


def _decoded(kind: Kind, messages: Iterable[Message]) -> Found:
    found = []
    for r, subject, payload in messages:
        try:
            frame = kinds.decode(payload)
            if frame.kind is kind:
                found.append((r, parse(subject), frame))
        except (Unreadable, ValueError) as error:
            logger.warning("no records of %s at %d: %s", subject, r, error)
    return found


def _repeated(values: Sequence[str], counts: Array) -> Any:
    """Return a column of names, each for so many records."""
    numbers: dict[str, int] = {}
    codes = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int32)
    return pa.DictionaryArray.from_arrays(np.repeat(codes, counts), pa.array(list(numbers)))


def _column(field: Field, records: Array, frames: Sequence[Frame], counts: Array) -> Any:
    exponent = _EXPONENTS.get(field.unit)
    if exponent is not None:
        of_frame = np.array([exponent(frame) for frame in frames])
        return _decimals(field, records, of_frame, counts)
    values = np.ascontiguousarray(records[field.name])
    null = values == INT64_NULL if field.optional else None
    if field.unit == "ns":
        return pa.array(values, pa.int64(), mask=null).cast(TIME)
    names = _names(field)
    if names:
        return _named(values, names)
    if field.type.startswith("char"):
        return pa.array([v.decode("ascii", "replace") for v in values.tolist()]).dictionary_encode()
    return pa.array(values, mask=null)


_EXPONENTS: dict[str, Callable[[Frame], int]] = {
    "price": lambda frame: frame.price_exponent,
    "quantity": lambda frame: frame.quantity_exponent,
    "notional": lambda frame: frame.price_exponent + frame.quantity_exponent,
}


def _decimals(field: Field, records: Array, exponents: Array, counts: Array) -> Any:
    """Scale a field by the exponents of its frames; few different ones, so a call for each."""
    out = np.empty(len(records), exact.INT128)
    of_record = np.repeat(exponents, counts)
    for exponent in np.unique(exponents):
        mask = slice(None) if len(set(exponents)) == 1 else of_record == exponent
        out[mask] = exact.scaled_field(records[mask], field.name, int(exponent))
    return pa.Array.from_buffers(DECIMAL, len(out), [None, pa.py_buffer(out)])


def _named(values: Array, names: type[IntEnum]) -> Any:
    """Return numbers by their names; one without a name is written as it is."""
    numbers, codes = np.unique(values, return_inverse=True)
    known = names._value2member_map_
    texts = [known[n].name if n in known else str(n) for n in numbers.tolist()]
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(texts, pa.string()))
