"""Runs in logical order: (r, i, depth, processor, n), facts and derived records together."""

import numpy as np
import pytest

from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import FRAMES, INSTRUMENTS
from tidemill.streams.runtime import order
from tidemill.streams.runtime.intake import Column

NOBODY = np.zeros(0, INSTRUMENTS)
Place = tuple[str, int, int]


def facts(kind: str, *frames: tuple[int, int]) -> Column:
    """A column of LOG: frames (r, count); record j of frame r has the id 100 r + j."""
    shape = {"trade": TRADE, "quote": QUOTE}[kind]
    name = {"trade": "trade_id", "quote": "update_id"}[kind]
    rows = np.zeros(len(frames), FRAMES)
    records = shape.empty(sum(count for _, count in frames))
    start = 0
    for row, (r, count) in zip(rows, frames, strict=True):
        row["start"], row["count"], row["r"] = start, count, r
        records[name][start : start + count] = 100 * r + np.arange(count)
        start += count
    return Column(records, rows)


def derived(depth: int, processor: str, *at: tuple[int, int, int]) -> Column:
    """A column of derived bars at (r, i, n)."""
    rows = np.zeros(len(at), FRAMES)
    records = BAR.empty(len(at))
    rows["start"], rows["count"] = np.arange(len(at)), 1
    for row, record, (r, i, n) in zip(rows, records, at, strict=True):
        row["r"], row["i"] = r, i
        record["at_r"], record["at_i"], record["n"] = r, i, n
    return Column(records, rows, (), records["n"].astype(np.uint32), depth, processor)


def walked(columns: dict[str, Column]) -> list[list[Place]]:
    """Return every run as the places (kind, r, i) of its records, in order."""
    found = []
    for run in order.runs(columns, NOBODY):
        places = []
        for row in run.frames:
            for j in range(int(row["count"])):
                places.append((run.kind, int(row["r"]), int(row["i"]) + j))
                record = run.records[int(row["start"]) + j]
                if run.kind == "trade":
                    assert record["trade_id"] == 100 * row["r"] + row["i"] + j
        found.append(places)
    return found


def test_one_kind_of_facts_is_one_run_as_it_came() -> None:
    assert walked({"trade": facts("trade", (1, 2), (4, 1))}) == [
        [("trade", 1, 0), ("trade", 1, 1), ("trade", 4, 0)]
    ]


def test_kinds_of_facts_alternate_by_sequence() -> None:
    columns = {"quote": facts("quote", (2, 1), (3, 1)), "trade": facts("trade", (1, 1), (4, 2))}
    assert walked(columns) == [
        [("trade", 1, 0)],
        [("quote", 2, 0), ("quote", 3, 0)],
        [("trade", 4, 0), ("trade", 4, 1)],
    ]


def test_a_derived_record_stands_behind_its_cause_within_a_frame() -> None:
    columns = {
        "trade": facts("trade", (1, 4), (2, 1)),
        "bar": derived(1, "bars", (1, 1, 0), (1, 3, 0)),
    }
    assert walked(columns) == [
        [("trade", 1, 0), ("trade", 1, 1)],
        [("bar", 1, 1)],
        [("trade", 1, 2), ("trade", 1, 3)],
        [("bar", 1, 3)],
        [("trade", 2, 0)],
    ]


def test_at_one_record_the_depth_then_the_processor_then_its_ordinal_decide() -> None:
    columns = {
        "price": derived(2, "a", (1, 0, 0)),
        "bar": derived(1, "b", (1, 0, 7), (1, 0, 9)),
        "feed": derived(1, "a", (1, 0, 99)),
    }
    assert walked(columns) == [
        [("feed", 1, 0)],
        [("bar", 1, 0), ("bar", 1, 0)],
        [("price", 1, 0)],
    ]


def test_the_order_in_which_kinds_are_given_makes_no_difference() -> None:
    columns = {
        "trade": facts("trade", (1, 3), (3, 2)),
        "quote": facts("quote", (2, 2), (5, 1)),
        "bar": derived(1, "bars", (1, 0, 1), (1, 2, 1), (2, 1, 5), (3, 0, 2)),
    }
    turned = dict(reversed(list(columns.items())))
    assert walked(columns) == walked(turned)


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_is_the_sorted_sequence_of_its_records(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds: dict[int, str] = {}
    frames: dict[str, list[tuple[int, int]]] = {"trade": [], "quote": []}
    at = []
    for r in range(1, 30):
        kinds[r] = ["trade", "quote"][int(random.integers(2))]
        count = int(random.integers(1, 6))
        frames[kinds[r]].append((r, count))
        chosen = random.random(count) < 0.3
        at += [(r, int(i), k) for i in np.flatnonzero(chosen) for k in range(random.integers(1, 3))]
    columns = {kind: facts(kind, *given) for kind, given in frames.items()}
    columns["bar"] = derived(1, "bars", *at)
    expected = sorted(
        [(r, i, 0, 0) for given in frames.values() for r, count in given for i in range(count)]
        + [(r, i, 1, n) for r, i, n in at]
    )
    found = [place for run in walked(columns) for place in run]
    wanted = [("bar" if depth else kinds[r], r, i) for r, i, depth, _ in expected]
    assert found == wanted
