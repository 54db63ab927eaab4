"""The trimmer deletes what is proven and nobody's any more, and never anything else."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tidemill.schemas import events
from tidemill.schemas.errors import Regressed
from tidemill.schemas.events.archive import TrimAnnounced
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.facts import SEALED, TRIM
from tidemill.streams.archive.manifest import open_archive
from tidemill.streams.archive.store import Store
from tidemill.streams.archive.trimmer import Keep, Reading, Trimmed, trim
from tidemill.streams.log import Fence, Message
from tidemill.streams.memory import MemoryLog
from tidemill.tests.streams.archive import logs

SIZE = 100


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(str(tmp_path))


async def sealed(store: Store, count: int, until: int) -> MemoryLog:
    log = await logs.filled(count)
    await Archiver(log, store, Limits(segment_messages_max=SIZE)).seal(until)
    return log


async def trimmed(
    log: MemoryLog, store: Store, keep: Keep | None = None, slowest: int = 10_000
) -> Trimmed:
    async def reading() -> Reading:
        return Reading(slowest, "somebody")

    return await trim(log, store, keep or Keep(), reading, notice_s=0.0)


@pytest.mark.parametrize(
    ("keep", "slowest", "first"),
    [
        (Keep(), 10_000, 951),  # all that is sealed
        (Keep(), 950, 951),
        (Keep(), 949, 901),  # whole ranges only
        (Keep(), 99, 1),
        (Keep(), 0, 1),
        (Keep(records=510), 10_000, 501),  # LOG ends at 1,010 with the facts of sealing
        (Keep(records=511), 10_000, 401),
        (Keep(records=5_000), 10_000, 1),
        (Keep(ns=40 * logs.SECOND_NS), 10_000, 601),  # LOG ends at 99.0 s, this range at 59.0 s
        (Keep(ns=200 * logs.SECOND_NS), 10_000, 1),
    ],
)
async def test_only_whole_ranges_that_nobody_needs_go(
    store: Store, keep: Keep, slowest: int, first: int
) -> None:
    log = await sealed(store, 1_000, 950)
    assert log.end - 1 == 1_010
    found = await trimmed(log, store, keep, slowest)
    assert (found.first, found.messages) == (first, first - 1)
    assert found.why
    assert (await log.identity()).first == first
    assert await log.last(SEALED) is not None
    both = ArchivedLog(log, store.path(""))
    assert [m.sequence for m in await logs.everything(both)] == list(range(1, log.end))
    again = await trimmed(log, store, keep, slowest)
    assert again.first <= first + SIZE  # what was announced is newer, so perhaps one more may go


async def test_what_goes_was_announced_in_log_before(store: Store) -> None:
    log = await sealed(store, 500, 500)
    purge = log.purge

    async def watched(last: int) -> None:
        message = await log.last(TRIM)
        assert message is not None
        event = events.decode(message.payload)
        assert event == TrimAnnounced(sequence=event.sequence, log=log.uuid, r1=last)
        await purge(last)

    log.purge = watched  # type: ignore[method-assign] # when it is called is the question
    assert (await trimmed(log, store, slowest=200)).messages == 200
    assert (await trimmed(log, store, slowest=300)).messages == 100


async def test_between_the_announcement_and_the_end_readers_have_their_time(store: Store) -> None:
    log = await sealed(store, 500, 500)
    times: list[float] = []
    append, purge = log.append, log.purge

    async def appended(messages: Sequence[tuple[str, bytes]], fence: Fence | None) -> int:
        sequence = await append(messages, fence)
        times.extend([time.monotonic()] * (messages[0][0] == TRIM))
        return sequence

    async def purged(last: int) -> None:
        times.append(time.monotonic())
        await purge(last)

    log.append, log.purge = appended, purged  # type: ignore[method-assign] # when is the question

    async def reading() -> Reading:
        return Reading(200, "somebody")

    assert (await trim(log, store, Keep(), reading, notice_s=0.2)).messages == 200
    announced, gone = times
    assert gone - announced >= 0.2


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "swapped", "of another log"])
async def test_a_damaged_archive_costs_nothing_of_log(
    store: Store, harm: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = await sealed(store, 1_000, 950)
    before = [log._at(r) for r in range(1, 1_000)]
    path = Path(store.path(store.names()[3]))
    match harm:
        case "flip":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        case "cut":
            path.write_bytes(path.read_bytes()[:-100])
        case "gone":
            path.unlink()
        case "swapped":
            path.write_bytes(Path(store.path(store.names()[4])).read_bytes())
        case _:
            other = Store.at(str(tmp_path_factory.mktemp("other")))
            await sealed(other, 1_001, 950)
            path.write_bytes(Path(other.path(path.name)).read_bytes())
    with pytest.raises(Regressed):
        await trimmed(log, store)
    assert [log._at(r) for r in range(1, 1_000)] == before


async def test_a_message_that_log_holds_otherwise_stops_the_trimmer(store: Store) -> None:
    log = await sealed(store, 1_000, 950)
    log._messages[344] = Message(345, "time", b"another")
    with pytest.raises(Regressed, match="does not hold what LOG holds"):
        await trimmed(log, store)
    assert (await log.identity()).first == 1
    assert (await trimmed(log, store, slowest=320)).first == 301


async def test_a_trimmed_log_is_sealed_and_trimmed_further(store: Store) -> None:
    log = await sealed(store, 300, 300)
    for turn in range(1, 5):
        await trimmed(log, store)
        await logs.append(log, logs.facts(250, start=1_000 * turn))
        await Archiver(log, store, Limits(segment_messages_max=SIZE)).seal(log.end - 1)
    archive, _ = await open_archive(log, store)
    assert archive.end > 1_200 and (await log.identity()).first > 900
    both = ArchivedLog(log, store.path(""))
    assert [m.sequence for m in await logs.everything(both)] == list(range(1, log.end))


@pytest.mark.parametrize(
    ("text", "keep"),
    [("7d", Keep(ns=604_800 * 10**9)), ("30m", Keep(ns=1_800 * 10**9)), ("500", Keep(500))],
)
def test_what_is_kept_is_a_duration_or_a_number_of_records(text: str, keep: Keep) -> None:
    assert Keep.parse(text) == keep


@pytest.mark.parametrize("text", ["", "d", "-1", "1w", "1.5h", "7 d"])
def test_nothing_else_is_kept(text: str) -> None:
    with pytest.raises(ValueError, match="neither a duration"):
        Keep.parse(text)
