"""LOG and its archive read as one: exactly what the log gives that was never trimmed."""

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.schemas.errors import Fenced, Regressed
from tidemill.streams.appender import Appender
from tidemill.streams.archive import segment
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.facts import TRIM
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Fence
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.streams.archive import logs

FILTERS = (
    (">",),
    ("md.>", "time"),
    ("md.trade.BINANCE.BTCUSDT.07",),
    ("md.*.*.ETHUSDT.*", "cmd.>"),
    ("cmd.account3.place",),
    ("ctl.>",),
    ("exec.>",),
)
SUBJECTS = (">", "md.>", "md.*.*.SOLUSDT.*", "time", "cmd.*.place", "cmd.account2.>", "ctl.>")


class Twins:
    """A LOG that is sealed and trimmed, and the same one that never was."""

    def __init__(self, directory: Path, check_s: float = 0.0) -> None:
        self.whole = logs.log()
        self.trimmed = MemoryLog("LOG", LOG_SUBJECTS, self.whole.uuid)
        self.store = Store.at(str(directory))
        self.both = ArchivedLog(self.trimmed, str(directory), check_s=check_s)
        self.at = 0

    async def append(self, count: int) -> None:
        await logs.append(self.trimmed, logs.facts(count, self.at, self.at))
        self.at += count
        await self.follow()

    async def follow(self) -> None:
        """Let the whole one have all that the other has, the facts of sealing among it."""
        missing = self.trimmed.slice(self.whole.end, self.trimmed.end)
        await logs.append(self.whole, [m[1:] for m in missing if m is not None])

    async def seal(self, until: int, size: int = 200) -> None:
        await Archiver(self.trimmed, self.store, Limits(segment_messages_max=size)).seal(until)
        await self.follow()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30))
async def test_any_trim_start_and_filter_gives_what_the_untrimmed_log_gives(seed: int) -> None:
    chance = random.Random(seed)
    old, segment.GROUP_BYTES = segment.GROUP_BYTES, chance.choice((500, 4_000, 1 << 20))
    try:
        with tempfile.TemporaryDirectory() as directory:
            await _same(Twins(Path(directory)), chance)
    finally:
        segment.GROUP_BYTES = old


async def _same(twins: Twins, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 3)):
        await twins.append(chance.randint(1, 400))
        sealed = chance.randint(1, twins.trimmed.end - 1)
        await twins.seal(sealed, chance.randint(5, 300))
        await twins.trimmed.purge(chance.randint(0, sealed))
    await twins.append(chance.randint(0, 50))
    assert (await twins.both.identity()) == (await twins.whole.identity())
    for _ in range(4):
        start, filters = chance.randint(1, twins.whole.end + 2), chance.choice(FILTERS)
        expected = await logs.everything(twins.whole, start, filters)
        assert await logs.everything(twins.both, start, filters) == expected
    for subject in SUBJECTS:
        assert await twins.both.last(subject) == await twins.whole.last(subject)
        assert await twins.both.lasts(subject) == await twins.whole.lasts(subject)
    for r in (0, *(chance.randint(1, twins.whole.end) for _ in range(5))):
        assert await twins.both.get(r) == await twins.whole.get(r)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 30))
async def test_a_reader_misses_nothing_that_is_trimmed_while_it_reads(seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        twins = Twins(Path(directory))
        filters = chance.choice(FILTERS)
        await twins.append(chance.randint(1, 300))
        reader = await twins.both.read(1, filters)
        found = []
        for _ in range(chance.randint(2, 12)):
            match chance.randint(0, 3):
                case 0:
                    await twins.append(chance.randint(1, 200))
                case 1:
                    await twins.seal(chance.randint(1, twins.trimmed.end - 1), 100)
                case 2:
                    sealed = (await twins.both.archive_now()).end
                    await twins.trimmed.purge(chance.randint(0, sealed))
                case _:
                    found += await reader.pull(chance.randint(1, 99), 3_000, 0.01)
                    assert await reader.complete() <= twins.whole.end - 1
        while await reader.complete() < twins.whole.end - 1:
            found += await reader.pull(500, 1 << 20, 0.02)
        await reader.close()
        assert found == await logs.everything(twins.whole, 1, filters)


async def test_an_appender_goes_on_after_its_last_message_was_trimmed(tmp_path: Path) -> None:
    twins = Twins(tmp_path)
    owner = Appender(twins.both, "cmd.mine.>")
    await owner.own()
    await owner.append([("cmd.mine.a", b"1")])
    await twins.append(100)
    await twins.seal(100)
    await twins.trimmed.purge(90)
    later = Appender(twins.both, "cmd.mine.>")
    newest = await later.own()
    assert newest is not None and (newest.sequence, newest.payload) == (1, b"1")
    at = await owner.append([("cmd.mine.b", b"2"), ("cmd.mine.b", b"3")])
    assert (await twins.trimmed.last("cmd.mine.*")) == (at, "cmd.mine.b", b"3")
    with pytest.raises(Fenced):
        await later.append([("cmd.mine.a", b"another's")])


async def test_a_fence_holds_against_messages_that_were_trimmed(tmp_path: Path) -> None:
    """A writer that slept while another wrote, and all of that was trimmed, stays fenced."""
    twins = Twins(tmp_path)
    await twins.both.append([("cmd.mine.a", b"1")], Fence("cmd.mine.*", 0))
    await twins.both.append([("cmd.mine.a", b"2")], Fence("cmd.mine.*", 1))
    await twins.append(100)
    await twins.seal(100)
    await twins.trimmed.purge(90)
    for stale in (0, 1, 50):
        with pytest.raises(Fenced):
            await twins.both.append([("cmd.mine.a", b"zombie")], Fence("cmd.mine.*", stale))
    await twins.both.append([("cmd.mine.a", b"3")], Fence("cmd.mine.*", 2))


async def test_a_trimmed_log_without_its_archive_is_never_read_as_if_it_were_whole(
    tmp_path: Path,
) -> None:
    twins = Twins(tmp_path)
    await twins.append(300)
    await twins.seal(200, 100)
    bare = ArchivedLog(twins.trimmed, "")
    assert len(await logs.everything(bare)) == twins.trimmed.end - 1
    await twins.trimmed.purge(100)
    for attempt in (bare.identity(), bare.read(1, [">"]), bare.last("exec.>"), bare.get(7)):
        with pytest.raises(Regressed, match="TIDEMILL_ARCHIVE"):
            await attempt
    assert len(await logs.everything(ArchivedLog(twins.trimmed, str(tmp_path)))) == 304 - 2
    Path(twins.store.path(twins.store.names()[0])).unlink()
    with pytest.raises(Regressed, match="no file that ends at 100"):
        await ArchivedLog(twins.trimmed, str(tmp_path)).read(1, [">"])


async def test_what_is_announced_is_read_from_the_archive_before_it_is_gone(tmp_path: Path) -> None:
    from tidemill.schemas import events
    from tidemill.schemas.events.archive import TrimAnnounced

    twins = Twins(tmp_path, check_s=0.0)
    await twins.append(300)
    await twins.seal(200, 100)
    reader = await twins.both.read(1, [">"])
    found = await reader.pull(10, 1 << 20, 1)
    event = TrimAnnounced(log=twins.trimmed.uuid, r1=100)
    await twins.both.append([(TRIM, events.encode(event))], None)
    await twins.follow()
    found += await reader.pull(10, 1 << 20, 1)
    assert reader._cursor is not None and reader._inner is None
    while await reader.complete() < twins.whole.end - 1:
        found += await reader.pull(77, 1 << 20, 0.05)
    assert found == await logs.everything(twins.whole)
    await reader.close()


async def test_sealed_first_reads_what_log_still_has_from_the_archive(tmp_path: Path) -> None:
    twins = Twins(tmp_path)
    await twins.append(300)
    await twins.seal(250, 100)
    reader = await ArchivedLog(twins.trimmed, str(tmp_path), sealed_first=True).read(40, ["md.>"])
    assert reader._cursor is not None
    await reader.close()
    log = ArchivedLog(twins.trimmed, str(tmp_path), sealed_first=True)
    assert await logs.everything(log, 40, ["md.>"]) == await logs.everything(
        twins.whole, 40, ["md.>"]
    )
