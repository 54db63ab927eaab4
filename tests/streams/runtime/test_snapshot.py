"""Snapshots: read only when whole, of this code and these processors, and not past a checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from tidemill.schemas.errors import Unavailable
from tidemill.schemas.events.indicators import IndicatorSetRemoved
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL
from tidemill.streams.runtime.engine import Held, Section
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.snapshot import KEPT, Snapshots
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, COUNTED, FOLLOW

GRAPH = Graph("main", [COUNT, BEAT])


def section(partition: int, count: int) -> Section:
    """A section of one instrument that counted to `count`, parked since 3, with two letters."""
    rows = np.zeros(1, COUNTED)
    rows["count"] = count
    event = InstrumentDefined(venue="V", symbol="AB", product="SPOT", base="A", quote="B")
    feeds = rows if partition == ALL else rows[:0]
    parts = {"count": Held(rows, {0: 3}, [3, 9]), "beat": Held(feeds, {}, [])}
    told = {"ctl.indicators.a": IndicatorSetRemoved(name="a")}
    return Section(partition, [event], [("V", "SPOT")], parts, {("V", "SPOT"): (1_000, -50)}, told)


def write(snapshots: Snapshots, r: int, *partitions: int) -> Path:
    return snapshots.write(r, r * 10, r + 1, [section(p, r + p) for p in partitions])


def test_a_snapshot_gives_back_what_was_written(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, GRAPH, "log", "code")
    write(snapshots, 100, 3, ALL)
    saved = snapshots.newest({3: 100, ALL: 100})
    loaded = snapshots.load(saved[3], frozenset({3, ALL}))
    assert (loaded.ts, loaded.out_from) == (1_000, 101)
    for found, wanted in zip(loaded.sections, [section(3, 103), section(ALL, 164)], strict=True):
        assert (found.partition, found.definitions) == (wanted.partition, wanted.definitions)
        assert (found.feeds, found.fees) == (wanted.feeds, wanted.fees)
        assert found.settings == wanted.settings
        for name, held in wanted.parts.items():
            assert found.parts[name].rows.tobytes() == held.rows.tobytes()
            assert found.parts[name][1:] == held[1:]
    assert [s.partition for s in snapshots.load(saved[3], frozenset({ALL})).sections] == [ALL]


def test_a_snapshot_past_what_is_committed_is_not_used(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, GRAPH, "log", "code")
    write(snapshots, 100, 3, 4)
    write(snapshots, 200, 3, 4)
    found = snapshots.newest({3: 199, 4: 200, 5: 900})
    assert {p: saved.r for p, saved in found.items()} == {3: 100, 4: 200}
    assert snapshots.newest({3: 99}) == {}


@pytest.mark.parametrize("damage", ["cut", "changed", "renamed", "foreign"])
def test_a_damaged_file_is_passed_over_for_the_one_before_it(tmp_path: Path, damage: str) -> None:
    snapshots = Snapshots(tmp_path, GRAPH, "log", "code")
    write(snapshots, 100, 3)
    path = write(snapshots, 200, 3)
    saved = snapshots.newest({3: 500})[3]
    body = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(body[:-1])
        case "changed":
            path.write_bytes(body[:50] + bytes([body[50] ^ 1]) + body[51:])
        case "renamed":
            path.rename(path.with_name(path.name.replace("200", "300")).with_suffix(".part"))
        case "foreign":
            path.write_bytes(b"")
            (path.parent / "notes.snap").write_bytes(b"x")
    assert snapshots.newest({3: 500})[3].r == 100
    with pytest.raises(Unavailable):
        snapshots.load(saved, frozenset({3}))


def test_other_code_another_log_and_other_processors_have_their_own(tmp_path: Path) -> None:
    write(Snapshots(tmp_path, GRAPH, "log", "code"), 100, 3)
    more = Graph("main", [COUNT, FOLLOW, BEAT])
    for graph, log, code in ((GRAPH, "log", "b"), (GRAPH, "other", "code"), (more, "log", "code")):
        assert Snapshots(tmp_path, graph, log, code).newest({3: 500}) == {}
    assert Snapshots(tmp_path, GRAPH, "log", "code").newest({3: 500})[3].r == 100


def test_only_what_has_enough_newer_ones_for_each_partition_is_dropped(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, GRAPH, "log", "code")
    write(snapshots, 10, 3, 4)  # of an earlier number of shards
    for r in range(100, 100 + KEPT + 2):
        write(snapshots, r, 3)
    names = sorted(int(path.name[:20]) for path in tmp_path.rglob("*.snap"))
    assert names == [10, *range(102, 100 + KEPT + 2)]
    assert snapshots.newest({3: 500, 4: 500})[4].r == 10
    for r in range(200, 200 + KEPT):
        write(snapshots, r, 4)
    assert snapshots.newest({4: 199}) == {}
    assert len(list(tmp_path.rglob("*.snap"))) == 2 * KEPT
