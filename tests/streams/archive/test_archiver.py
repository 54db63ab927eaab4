"""The archiver: what it seals is what LOG holds, whatever kills it and wherever."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tidemill.schemas import events
from tidemill.schemas.errors import Fenced, Regressed
from tidemill.schemas.events.archive import RangeSealed
from tidemill.streams.archive import archiver, chain, segment
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.cursor import Cursor
from tidemill.streams.archive.facts import SEALED
from tidemill.streams.archive.manifest import open_archive
from tidemill.streams.archive.sealed_file import opened
from tidemill.streams.archive.store import UNFINISHED, Store
from tidemill.streams.crash_points import Arming
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Log, Message
from tidemill.streams.memory import Fault, MemoryLog
from tidemill.tests.forked import forked
from tidemill.tests.streams.archive import logs
from tidemill.tests.streams.archive.sealing import seal

ALL = Matcher((">",))
SMALL = Limits(segment_messages_max=500)


def sealed_messages(archive: Archive) -> list[Message]:
    found = []
    for name in archive.names:
        with opened(archive.store, name) as file:
            for group in range(file.groups):
                found += file.read(group, ALL)
    return found


def in_log(log: MemoryLog) -> list[Message]:
    return [message for message in log.slice(1, log.end) if message is not None]


async def manifest(log: Log) -> list[RangeSealed]:
    found = [m for m in await logs.everything(log) if m.subject == SEALED]
    made = [events.decode(m.payload) for m in found]
    previous = ["", *(sha256(m.payload).hexdigest() for m in found)]
    assert [e.previous for e in made if isinstance(e, RangeSealed)] == previous[:-1]
    return [event for event in made if isinstance(event, RangeSealed)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(str(tmp_path / "archive"))


async def test_what_is_sealed_is_what_log_holds_and_the_newest_fact_attests_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "GROUP_BYTES", 3_000)
    log = await logs.filled(3_000)
    await Archiver(log, store, SMALL).seal(2_900)
    archive, newest = await open_archive(log, store)
    assert newest is not None and archive.end == 2_900 and len(archive.names) > 1
    assert sealed_messages(archive) == in_log(log)[:2_900]
    ranges = [archive.range(name) for name in archive.names]
    assert [r.r0 for r in ranges] == [1, *(r.r1 + 1 for r in ranges[:-1])]
    told = await manifest(log)
    assert [e.file for e in told] == list(archive.names)
    assert told[-1].chain == chain.extend(chain.begin(log.uuid), in_log(log)[:2_900]).hex()
    assert told[-1].ts == logs.T0_NS + 289 * logs.SECOND_NS
    for event in told:
        data = Path(store.path(event.file)).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (event.file_bytes, event.file_sha256)
    held = {m.subject: m.sequence for m in in_log(log)[:2_900]}
    assert archive.lasts == held


async def test_sealing_goes_on_where_it_ended_with_the_facts_of_sealing_among_the_rest(
    store: Store,
) -> None:
    log = await logs.filled(700)
    for _ in range(4):
        await Archiver(log, store, SMALL).seal((await log.identity()).last)
        await logs.append(log, logs.facts(300, start=log.end))
    archive, _ = await open_archive(log, store)
    assert sealed_messages(archive) == in_log(log)[: archive.end]
    assert any(m.subject == SEALED for m in sealed_messages(archive))
    assert [e.sequence for e in await manifest(log)] == list(range(1, len(archive.names) + 1))


async def test_a_range_is_sealed_when_it_is_old_by_the_time_of_log(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "PULL_MESSAGES", 100)
    log = await logs.filled(2_000)  # ten facts a second
    await Archiver(log, store, Limits(segment_age_ns=50 * logs.SECOND_NS)).seal(2_000)
    sizes = [event.messages for event in await manifest(log)]
    assert sum(sizes) == 2_000 and all(500 <= size <= 600 for size in sizes[:-1])


async def test_a_missing_message_is_never_sealed_over(store: Store) -> None:
    log = await logs.filled(600)
    log._delete(333)
    with pytest.raises(Regressed, match="333 is missing"):
        await Archiver(log, store, SMALL).seal(600)
    assert await log.last(SEALED) is None


async def test_a_lost_acknowledgement_of_the_fact_seals_once(store: Store) -> None:
    log = await logs.filled(100)
    log.faults = [Fault.LANDED]
    await Archiver(log, store, SMALL).seal(100)
    log.faults = [Fault.LOST]
    await Archiver(log, store, SMALL).seal(101)
    assert [(e.r0, e.r1) for e in await manifest(log)] == [(1, 100), (101, 101)]


async def test_of_two_archivers_one_is_fenced_and_nothing_is_sealed_twice(store: Store) -> None:
    log = await logs.filled(100)
    first, second = Archiver(log, store, SMALL), Archiver(log, store, SMALL)
    await first.open()
    await second.open()
    await second._follow(60)
    with pytest.raises(Fenced):
        await first._follow(100)
    await Archiver(log, store, SMALL).seal(100)
    archive, _ = await open_archive(log, store)
    assert sealed_messages(archive) == in_log(log)[:100]


async def test_a_whole_file_that_log_does_not_know_is_adopted(store: Store) -> None:
    log = await logs.filled(400)
    killed = Archiver(log, store, SMALL)
    await killed.seal(150)
    made = segment.Segment(store, killed._newest, log.uuid, killed._lasts)
    made.add(in_log(log)[150:300])
    made.finish()
    made = segment.Segment(store, killed._newest, log.uuid, killed._lasts)
    made.add(in_log(log)[150:200])
    again = Archiver(log, store, SMALL)
    await again.open()
    assert again.sealed == 300
    await again.seal(400)
    archive, _ = await open_archive(log, store)
    assert sealed_messages(archive) == in_log(log)[:400]
    assert len(os.listdir(store.path(""))) == len(archive.names) == 3


async def test_a_damaged_file_that_log_does_not_know_is_made_again(store: Store) -> None:
    log = await logs.filled(400)
    made = segment.Segment(store, None, log.uuid, {})
    made.add(in_log(log)[:200])
    path = Path(store.path(made.finish().name))
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    await Archiver(log, store, SMALL).seal(200)
    archive, _ = await open_archive(log, store)
    assert sealed_messages(archive) == in_log(log)[:200]


@pytest.mark.parametrize("how", ["truncated", "changed", "recreated", "another"])
async def test_another_log_than_the_one_that_was_sealed_is_regressed(
    store: Store, how: str
) -> None:
    log = await logs.filled(600)
    await Archiver(log, store, SMALL).seal(450)
    match how:
        case "truncated":
            log.truncate(440)
        case "changed":
            log._messages[449] = Message(450, "time", b"another")
        case "recreated":
            log.recreate()
        case "another":
            log = await logs.filled(600, seed=2)
            log.truncate(460)
            await logs.append(log, logs.facts(100, start=460))
    with pytest.raises(Regressed, match="LOG REGRESSED"):
        await Archiver(log, store, SMALL).open()
    assert len(store.names()) == 1


def written_anew(path: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    """Write a file again as pyarrow does, pages, sums and metadata all right, with other rows."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        groups = [file.read_row_group(k).to_pydict() for k in range(file.num_row_groups)]
        told = {key: file.metadata.metadata[key] for key in (segment.RANGE_KEY, segment.LASTS_KEY)}
    change(groups[0])
    with pq.ParquetWriter(path, schema) as writer:
        writer.add_key_value_metadata(told)
        for group in groups:
            writer.write_table(pa.Table.from_pydict(group, schema))


def _payload(rows: dict[str, list[Any]]) -> None:
    rows["payload"][3] = rows["payload"][3][:-1] + b"?"


def _sequence(rows: dict[str, list[Any]]) -> None:
    rows["r"][3] += 1


@pytest.mark.parametrize(
    ("change", "why"), [(_payload, "those of its digest chain"), (_sequence, "have a hole")]
)
async def test_a_file_that_was_written_anew_with_other_rows_is_found(
    store: Store, change: Callable[[dict[str, list[Any]]], None], why: str
) -> None:
    log = await logs.filled(400)
    await Archiver(log, store, SMALL).seal(400)
    path = Path(store.path(store.names()[0]))
    written_anew(path, lambda rows: None)
    with opened(store, path.name) as file:
        file.check()  # written anew as it was, it is whole
    written_anew(path, change)
    with pytest.raises(Regressed, match=why), opened(store, path.name) as file:
        file.check()


@pytest.mark.parametrize("which", [0, -1])
async def test_a_whole_file_of_another_history_is_found_by_who_reads(
    store: Store, which: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its rows fit its chain: that of the file before it, or what LOG attests, tells."""
    log, other = await logs.filled(1_600), Store.at(str(tmp_path_factory.mktemp("other")))
    twin = await logs.filled(1_600, seed=2)
    twin.uuid = log.uuid
    await Archiver(log, store, SMALL).seal(1_600)
    await Archiver(twin, other, SMALL).seal(1_600)
    assert store.names() == other.names() and len(store.names()) > 2
    name = store.names()[which]
    Path(store.path(name)).write_bytes(Path(other.path(name)).read_bytes())
    if which == -1:
        with pytest.raises(Regressed, match="not the file that LOG says was sealed"):
            await open_archive(log, store)
        return
    archive, _ = await open_archive(log, store)
    cursor = Cursor(archive, 1, Matcher((">",)))
    with pytest.raises(Regressed, match="does not follow the one before it"):
        while not cursor.ended:
            await cursor.pull(1_000, 1 << 20, 5.0)
    await cursor.close()


async def test_a_file_is_on_the_disk_before_it_has_its_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr("tidemill.streams.archive.store.sync", lambda path: synced.append(path))
    log = await logs.filled(1_100)
    await Archiver(log, store, SMALL).seal(1_000)
    assert len(synced) == 2 * len(store.names()) > 2
    for unfinished, folder in zip(synced[::2], synced[1::2], strict=True):
        assert unfinished.endswith(UNFINISHED) and folder == store.path("").rstrip("/")


@pytest.mark.parametrize("byte", [100, 2_000, -9, -200])
async def test_a_flipped_bit_in_a_file_is_found(store: Store, byte: int) -> None:
    log = await logs.filled(400)
    await Archiver(log, store, SMALL).seal(400)
    path = Path(store.path(store.names()[0]))
    data = bytearray(path.read_bytes())
    data[byte] ^= 0x10
    path.write_bytes(data)
    with (
        pytest.raises(Regressed, match=r"ARCHIVE DAMAGED|LOG REGRESSED"),
        opened(store, path.name) as file,
    ):
        checked = file.check()
        told = (await manifest(log))[0]
        if checked.file_sha256 != told.file_sha256:
            raise Regressed("ARCHIVE DAMAGED, by its own digest")


async def test_where_there_is_no_rename_and_no_fsync_a_file_is_copied_when_it_is_whole(
    tmp_path: Path,
) -> None:
    """As in a bucket: any file system of pyarrow's but the local one."""
    bucket = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    store = Store(bucket, "bucket/prefix")
    log = await logs.filled(1_000)
    made = segment.Segment(store, None, log.uuid, {})
    made.add(in_log(log)[:600])
    assert store.names() == []  # nobody sees an unfinished file
    made.abandon()
    await Archiver(log, store, SMALL).seal(900)
    archive, _ = await open_archive(log, store)
    assert sealed_messages(archive) == in_log(log)[:900]
    assert sorted(path.name for path in (tmp_path / "bucket/prefix").iterdir()) == store.names()


@pytest.mark.integration
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", ["writing", "written", "renamed", "sealing", "sealed"])
async def test_killed_at_any_point_the_next_seals_everything_once(
    nats_url: str, tmp_path: Path, step: str, nth: int
) -> None:
    from tidemill.streams.declarations import streams
    from tidemill.streams.jetstream import JetStreamLog
    from tidemill.streams.jetstream_connection import connect
    from tidemill.streams.migrator import migrate

    connection = await connect(nats_url)
    await migrate(connection, streams(), apply=True)
    log = await JetStreamLog.open(connection, "LOG")
    await logs.append(log, logs.facts(900))
    points = tmp_path / "points"
    points.mkdir()
    (points / f"archive.seal.{step}.armed").write_text(Arming(nth=nth).model_dump_json())
    location = str(tmp_path / "archive")
    for ends in (-signal.SIGKILL, 0):
        process = forked(seal, nats_url, location, 900, points)
        await asyncio.to_thread(process.join, 60)
        assert process.exitcode == ends
    assert json.loads((points / f"archive.seal.{step}.hit").read_bytes())["killed"]
    store = Store.at(location)
    archive, _ = await open_archive(log, store)
    assert archive.end == 900
    assert sealed_messages(archive) == [m for m in await logs.everything(log) if m.sequence <= 900]
    assert [e.file for e in await manifest(log)] == list(archive.names)
    assert len(os.listdir(location)) == len(archive.names)
    await connection.close()
