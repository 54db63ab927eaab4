"""Outputs: numbered by their cause, packed by subject, cut where they are too many."""

from itertools import pairwise

import numpy as np
import pytest

from tidemill.schemas import kinds
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.run import Records
from tidemill.streams.runtime import cuts, outputs
from tidemill.streams.runtime.checkpoint import Within
from tidemill.streams.runtime.outputs import FRAME_RECORDS_BYTES, Output

BTC, ETH = ("1m", "V", "BTCUSDT", 7), ("1m", "V", "ETHUSDT", 7)


def bars(*at: tuple[int, int, int]) -> Records:
    records = BAR.empty(len(at))
    for record, (r, i, n) in zip(records, at, strict=True):
        record["at_r"], record["at_i"], record["n"] = r, i, n
    return records


def numbers(r: list[int], i: list[int], partition: list[int], kind: int = 0) -> list[int]:
    n = outputs.number(np.array(r), np.array(i), np.array(partition), kind)
    return [int(one) for one in n]


def test_outputs_are_counted_for_each_record_and_partition() -> None:
    n = numbers([1, 1, 1, 1, 2], [0, 0, 0, 1, 1], [3, 5, 3, 3, 3])
    assert [one >> 24 for one in n] == [3, 5, 3, 3, 3]
    assert [one & 0xFFFFF for one in n] == [0, 0, 1, 0, 0]


def test_a_number_does_not_depend_on_what_other_partitions_emit() -> None:
    both = numbers([1, 1, 1, 1], [0, 0, 0, 0], [3, 5, 3, 5], kind=2)
    assert [n for n in both if n >> 24 == 3] == numbers([1, 1], [0, 0], [3, 3], kind=2)
    assert {n >> 20 & 15 for n in both} == {2}


def test_outputs_out_of_the_order_of_their_causes_are_a_bug() -> None:
    for r, i in (([2, 1], [0, 0]), ([1, 1], [1, 0])):
        with pytest.raises(ValueError, match="in the order"):
            numbers(r, i, [0, 0])


def test_more_outputs_than_a_number_holds_are_refused() -> None:
    many = (1 << 20) + 1
    with pytest.raises(OverflowError):
        numbers([1] * many, [0] * many, [0] * many)
    assert numbers([], [], []) == []


def test_frames_are_packed_by_subject_in_order_and_bounded() -> None:
    most = FRAME_RECORDS_BYTES // BAR.dtype.itemsize
    records = bars(*[(r, 0, 0) for r in range(1, 2 * most + 4)])
    group = np.arange(len(records)) % 2
    made = list(outputs.pack("bar", records, [ETH, BTC], group, [(-2, -8), (-4, -8)]))
    subjects = [output.subject for output in made]
    assert subjects == ["bars.1m.V.ETHUSDT.07"] * 2 + ["bars.1m.V.BTCUSDT.07"] * 2
    frames = [kinds.decode(output.payload) for output in made]
    assert [len(one.records) for one in frames] == [most, 2, most, 1]
    assert [one.price_exponent for one in frames] == [-2, -2, -4, -4]
    for first, second, start in ((frames[0], frames[1], 1), (frames[2], frames[3], 2)):
        roots = [*first.records["at_r"], *second.records["at_r"]]
        assert roots == list(range(start, len(records) + 1, 2))
    assert {output.partition for output in made} == {7}


def packed(*at: tuple[int, int, int], name: tuple[str, str, str, int] = BTC) -> list[Output]:
    return list(outputs.pack("bar", bars(*at), [name], np.zeros(len(at), int), [(0, 0)]))


def places(made: list[Output]) -> list[tuple[str, int, int, int]]:
    return [
        (one.subject, int(record["at_r"]), int(record["at_i"]), int(record["n"]))
        for one in made
        for record in kinds.decode(one.payload).records
    ]


def test_a_cut_stands_between_roots_and_keeps_every_record() -> None:
    made = packed(*[(r, i, 0) for r in range(1, 9) for i in range(3)])
    made += packed(*[(r, 0, 1) for r in range(3, 12)], name=ETH)
    parts = list(cuts.cut(made, 1_200))
    assert len(parts) > 3 and all(part.within is None for part in parts)
    assert sorted(p for part in parts for p in places(part.outputs)) == sorted(places(made))
    roots = [{r for _, r, _, _ in places(part.outputs)} for part in parts]
    assert all(max(a) < min(b) for a, b in pairwise(roots))
    assert [part.root for part in parts] == [max(one) for one in roots]


def test_what_was_stored_of_a_root_is_known_however_it_is_packed_again() -> None:
    btc, eth = packed(*[(5, i, 0) for i in range(4)]), packed((5, 0, 0), (5, 0, 1), name=ETH)
    parts = list(cuts.cut([*eth, *btc], 1))
    assert [part.within is None for part in parts] == [False, True]
    assert parts[0].outputs == btc and parts[0].within == Within(
        r=5, subject=btc[0].subject, i=3, n=0
    )
    again = packed((4, 0, 0), (5, 0, 0), (5, 3, 0), (6, 0, 0))
    rest = cuts.beyond(again[0], parts[0].within)
    assert rest is not None and [r for _, r, _, _ in places([rest])] == [4, 6]
    assert cuts.beyond(btc[0], parts[0].within) is None
    assert cuts.beyond(eth[0], parts[0].within) == eth[0]
    inside = Within(r=5, subject=btc[0].subject, i=1, n=0)
    rest = cuts.beyond(btc[0], inside)
    assert rest is not None and [i for _, _, i, _ in places([rest])] == [2, 3]


def test_a_single_message_over_the_bytes_is_still_one_transaction() -> None:
    made = packed((1, 0, 0), (1, 1, 0))
    assert cuts.fits(made, 1) and [part.outputs for part in cuts.cut(made, 1)] == [made]
    assert not cuts.fits(made * 1_000, 1 << 30) and cuts.fits(made * 999, 1 << 30)
