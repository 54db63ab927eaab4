"""Digests: canonical bytes against a plain spelling of them, and what they must not depend on."""

import hashlib
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.projections.canonical import canonical
from tidemill.projections.columns import POSITION, Column
from tidemill.projections.digest import BLOCK_ROOTS, Digest, Digester
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, Text, concatenate
from tidemill.projections.sources import rows_of
from tidemill.schemas import exact
from tidemill.tests.projections import facts

TRADES = TABLES["trades"]


def sample(offset: int = 0) -> Rows:
    made = rows_of(TRADES, [(k * 9_000 + offset, *facts.trades(k)) for k in range(1, 20)])
    assert made is not None
    return made


def digest(*parts: Rows) -> Digest:
    digester = Digester(TRADES)
    for part in parts:
        digester.take(part)
    return digester.digest(0)


def spelled_out(rows: Rows) -> list[bytes]:
    """The canonical bytes of each row, one field after another."""
    codes = {"uint8": "<B", "enum": "<B", "uint16": "<H", "uint32": "<I", "uint64": "<Q"}
    spelled = []
    for row in range(rows.count):
        parts = []
        for column in TRADES.columns:
            values = rows.columns[column.name]
            if isinstance(values, Text):
                name = values.values[values.codes[row]]
                parts.append(struct.pack("<I", len(name)) + name)
            elif column.kind == "decimal":
                value = exact.to_ints(values[row : row + 1])[0]
                parts.append(value.to_bytes(16, "little", signed=True))
            elif column.kind == "time":
                parts.append(struct.pack("<q", values[row]))
            else:
                parts.append(struct.pack(codes[column.kind], values[row]))
        spelled.append(b"".join(parts))
    return spelled


def test_canonical_bytes_are_the_fields_one_after_another() -> None:
    rows = sample()
    data, ends = canonical(TRADES.columns, rows)
    spelled = spelled_out(rows)
    assert data.tobytes() == b"".join(spelled)
    assert ends.tolist() == np.cumsum([len(row) for row in spelled]).tolist()


def test_the_digest_is_of_blocks_of_roots_and_then_over_blocks() -> None:
    rows = sample()
    blocks: dict[int, bytes] = {}
    for root, row in zip(rows.array("_r").tolist(), spelled_out(rows), strict=True):
        blocks[root // BLOCK_ROOTS] = blocks.get(root // BLOCK_ROOTS, b"") + row
    assert len(blocks) > 2
    over = hashlib.sha256()
    for number, block in blocks.items():
        over.update(struct.pack("<Q", number) + hashlib.sha256(block).digest())
    assert digest(rows).sha256 == over.hexdigest()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 133), max_size=6))
def test_any_split_into_batches_gives_the_same_digest(cuts: list[int]) -> None:
    rows = sample()
    borders = [0, *sorted(cuts), rows.count]
    parts = [rows.take(slice(a, b)) for a, b in pairwise(borders)]
    assert digest(*parts) == digest(rows)


def test_content_and_state_do_not_depend_on_positions() -> None:
    here, there = digest(sample()), digest(sample(offset=123_456))
    assert here.sha256 != there.sha256
    assert here.content_sha256 == there.content_sha256
    assert here.state_sha256 == there.state_sha256


def test_every_column_counts() -> None:
    rows, seen = sample(), {digest(sample()).sha256}
    for column in TRADES.columns:
        values = rows.columns[column.name]
        if isinstance(values, Text):
            other: Text | np.ndarray = Text(values.codes, tuple(v + b"X" for v in values.values))
        else:
            other = values.copy()
            raw = other.view(np.uint8)
            raw[-other.dtype.itemsize] ^= 1
        seen.add(digest(Rows(rows.count, {**rows.columns, column.name: other})).sha256)
    assert len(seen) == len(TRADES.columns) + 1


def test_a_row_twice_or_out_of_order_is_refused() -> None:
    rows = sample()
    for wrong in (
        concatenate([rows, rows.take(slice(-1, None))]),
        rows.take(slice(None, None, -1)),
    ):
        with pytest.raises(ValueError, match="stands twice or out of order"):
            digest(wrong)
    with pytest.raises(ValueError, match="stands twice"):
        digest(rows, rows.take(slice(-1, None)))


def test_there_is_one_nan_and_no_negative_zero() -> None:
    column = Column("x", "time")  # the kind says nothing here: the array is of floats
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000, 1 << 63, 0], np.uint64)
    data, _ = canonical((column,), Rows(4, {"x": odd.view(np.float64)}))
    words = data.view(np.uint64).tolist()
    assert words[0] == words[1] and words[2] == words[3] == 0


def test_the_state_is_the_newest_row_of_each_key() -> None:
    rows = sample()
    last = {}
    content = {column.name for column in POSITION}
    columns = tuple(c for c in TRADES.columns if c.name not in content)
    for row in range(rows.count):
        one = rows.take(slice(row, row + 1))
        key = canonical(tuple(c for c in columns if c.name in TRADES.key), one)[0].tobytes()
        last[key] = canonical(columns, one)[0].tobytes()
    expected = hashlib.sha256(b"".join(last[key] for key in sorted(last))).hexdigest()
    assert digest(rows).state_sha256 == expected
