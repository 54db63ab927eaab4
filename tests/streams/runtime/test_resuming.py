"""Resuming: from snapshots, under other code or another graph, while servers are away."""

import asyncio
import dataclasses
import gc
from collections.abc import Awaitable, Sequence
from pathlib import Path
from random import Random

import pytest

from tidemill.schemas.errors import Fenced, Regressed, Unavailable
from tidemill.schemas.events.control import CodeDeployed
from tidemill.streams import log as port
from tidemill.streams.log import Identity, Message
from tidemill.streams.memory import Fault, MemoryLog, MemoryReader
from tidemill.streams.runtime.checkpoint import Checkpoint, progress
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import EVERY, Limits, Shard, shard_of
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.streams.runtime import facts
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, FOLLOW, random_log
from tidemill.tests.streams.runtime.playing import (
    FUSED,
    SPLIT,
    digest,
    empty,
    filled,
    outcome,
    run_all,
)

ONE, TWO, _ = SPLIT


async def calm(log: MemoryLog) -> str:
    """The digest of one undisturbed run."""
    out = empty()
    await run_all(log, out, FUSED, 1, Random(1))
    return digest(await outcome(out))


@pytest.mark.parametrize("seed", range(4))
async def test_what_a_snapshot_has_of_another_graph_is_not_stepped_again_after_it(
    seed: int, tmp_path: Path
) -> None:
    log, out = await filled(seed), empty()
    expected, last = await calm(log), log.end - 1
    for index in (1, 0):  # upstream is far ahead, one shard behind the other, in few messages
        limits = Limits(batch_messages_max=[60, 1_000][index])
        await Shard(log, out, ONE, shard_of(index, 2), limits=limits).run(until=last)
    await Shard(log, out, SPLIT[2]).run(until=last)
    limits = Limits(batch_messages_max=9, snapshot_ns=1)
    for index in (0, 1):  # the second shard's snapshots come to stand elsewhere
        until = last // 3 * (index + 1)
        await Shard(log, out, TWO, shard_of(index, 2), tmp_path, limits).run(until=until)
    assert list(tmp_path.rglob("*.snap"))
    for until in (last - 50, last):
        await Shard(log, out, TWO, EVERY, tmp_path, limits).run(until=until)
    assert digest(await outcome(out)) == expected


async def test_a_redefinition_comes_between_the_records_of_another_graph_in_any_batch() -> None:
    """What a bar of another graph is priced by, is the definition at its place in LOG."""
    given = [
        facts.define("BTC"),
        facts.status(),
        facts.trade("BTC", [50, 51, 52]),
        facts.define("BTC", price_exponent=-4),
        facts.trade("BTC", [50, 51, 52]),
        facts.time(10),
    ]
    log = MemoryLog("LOG", LOG_SUBJECTS)
    for fact in given:
        await log.append([fact], None)
    follow = dataclasses.replace(FOLLOW, reads=("bar",), check=None)
    two = Graph("two", [follow], upstream=[COUNT])
    found = set()
    for size in (1, 2, 3, 4, 6):
        out = empty()
        await Shard(log, out, ONE).run(until=6)
        await Shard(log, out, two, limits=Limits(batch_messages_max=size)).run(until=6)
        frames = [m.payload for m in out.slice(1, out.end) if m and m.subject.startswith("prices")]
        if size == 6:
            assert len(frames) >= 2
        found.add(digest(await outcome(out)))
    assert len(found) == 1


class Away(MemoryLog):
    """A log where many a request fails, and whose readers are slow to begin."""

    failing = False
    random = Random(1)

    def _present(self) -> None:
        if self.failing and self.random.random() < 0.1:
            raise Unavailable("away for a moment")
        super()._present()

    async def read(self, start: int, filters: Sequence[str]) -> MemoryReader:
        self._present()
        return (SlowReader if self.failing else MemoryReader)(self, max(start, 1), filters)


class SlowReader(MemoryReader):
    """Its first pulls bring nothing."""

    pulls = 0

    async def pull(self, messages_max: int, bytes_max: int, timeout_s: float) -> list[Message]:
        self.pulls += 1
        if self.pulls < 4:
            return []
        return await super().pull(messages_max, bytes_max, timeout_s)


@pytest.mark.parametrize("graphs", [FUSED, SPLIT])
async def test_servers_that_are_away_while_a_shard_recovers_are_waited_for(
    graphs: list[Graph], tmp_path: Path
) -> None:
    given = random_log(5, 200)
    log, out = Away("LOG", LOG_SUBJECTS), Away("OUT", OUT_SUBJECTS)
    await MemoryLog.append(log, given, None)
    log.failing = out.failing = True
    limits = Limits(batch_messages_max=50, retry_s_max=0.01)
    for until in (100, len(given)):
        shards = [Shard(log, out, graph, EVERY, tmp_path, limits) for graph in graphs]
        await asyncio.wait_for(asyncio.gather(*(one.run(until=until) for one in shards)), 60)
    log.failing = out.failing = False
    assert digest(await outcome(out)) == await calm(log)


async def test_only_the_deployed_code_writes_whatever_code_came_before_it() -> None:
    given, log, out = random_log(2, 120), MemoryLog("LOG", LOG_SUBJECTS), empty()

    def deployed(code: str) -> facts.Fact:
        event = CodeDeployed(graph="main", code_hash=code)
        return facts.control("ctl.deploy.main", event)

    def shard(code: str, into: MemoryLog = out) -> Shard:
        limits = Limits(batch_messages_max=7)
        return Shard(log, into, FUSED[0], limits=limits, code=code)

    await log.append([*given[:20], deployed("a"), *given[20:80]], None)
    await shard("a").run(until=70)
    await log.append([deployed("b"), *given[80:]], None)
    last = log.end - 1
    for code in ("a", "c"):
        with pytest.raises(Fenced, match="LOG deploys code b"):
            await shard(code).run(until=last)
    before = await out.lasts("ckpt.main.*")
    assert {Checkpoint.read(m.payload).code_hash for m in before} == {"a"}
    await shard("b").run(until=last)  # steps what was stepped by a, and writes what was not
    after = [Checkpoint.read(m.payload) for m in await out.lasts("ckpt.main.*")]
    assert {one.code_hash for one in after} == {"b"}
    assert set(progress(after).values()) == {last} and len(progress(after)) == len(EVERY)
    alone = empty()
    await shard("b", alone).run(until=last)
    assert digest(await outcome(out)) == digest(await outcome(alone))


async def test_code_that_is_replaced_while_it_runs_writes_nothing_after_that_place() -> None:
    log, out = await filled(2, 120), empty()
    running = asyncio.create_task(Shard(log, out, FUSED[0], code="a").run())
    while (newest := await out.last("ckpt.main.00")) is None:
        await asyncio.sleep(0.01)
    event = CodeDeployed(graph="main", code_hash="b")
    place = await log.append([facts.control("ctl.deploy.main", event)], None)
    for fact in [facts.status(), facts.time(1 << 40)]:
        await log.append([fact], None)
    with pytest.raises(Fenced, match="LOG deploys code b"):
        await running
    for message in await out.lasts("ckpt.main.*"):
        assert Checkpoint.read(message.payload).done < place
    assert newest is not None


async def test_a_processor_that_comes_to_a_graph_later_has_all_its_outputs(tmp_path: Path) -> None:
    log, out = await filled(4), empty()
    expected, last = await calm(log), log.end - 1
    limits = Limits(batch_messages_max=40, snapshot_ns=10**9)
    first = Graph("main", [COUNT])
    await Shard(log, out, first, EVERY, tmp_path, limits).run(until=last - 200)
    running = asyncio.create_task(Shard(log, out, FUSED[0], EVERY, tmp_path, limits).run())
    while Checkpoint.read((await _newest(out, "ckpt.main.03")).payload).done_of("follow") < 150:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    half = Checkpoint.read((await _newest(out, "ckpt.main.03")).payload)
    assert half.processors == ("count",) and half.apart["follow"] < half.done
    await Shard(log, out, FUSED[0], EVERY, tmp_path, limits).run(until=last)
    assert digest(await outcome(out)) == expected


async def _newest(out: MemoryLog, subject: str) -> Message:
    found = await out.last(subject)
    assert found is not None
    return found


@pytest.mark.parametrize("way", [(FUSED, SPLIT), (SPLIT, FUSED)])
async def test_another_layout_of_graphs_makes_no_output_again(
    way: tuple[list[Graph], list[Graph]], tmp_path: Path
) -> None:
    facts_, whole = random_log(9, 500), MemoryLog("LOG", LOG_SUBJECTS)
    log = MemoryLog("LOG", LOG_SUBJECTS)
    for fact in facts_:
        await whole.append([fact], None)
    out = empty()
    for begin, stop, graphs in ((0, 200, way[0]), (200, 330, way[1]), (330, 500, way[0])):
        for fact in facts_[begin:stop]:
            await log.append([fact], None)
        await run_all(log, out, graphs, 2, Random(stop), snapshots=tmp_path)
    for fact in facts_[500:]:
        await log.append([fact], None)
    await run_all(log, out, way[1], 1, Random(3), snapshots=tmp_path)
    assert digest(await outcome(out)) == await calm(whole)


async def test_a_log_that_is_not_the_checkpoints_log_stops_a_shard_before_any_effect() -> None:
    log, out = await filled(1, 80), empty()
    await Shard(log, out, FUSED[0], limits=Limits(batch_messages_max=5)).run(until=70)
    end = out.end
    other, shorter = await filled(2, 80), await filled(1, 80)
    other.uuid = shorter.uuid = log.uuid
    shorter.truncate(60)
    for wrong, why in ((await filled(1, 80), "it is stream"), (other, "another message")):
        with pytest.raises(Regressed, match=why):
            await Shard(wrong, out, FUSED[0]).run(until=80)
    with pytest.raises(Regressed, match="it ends at 60"):
        await Shard(shorter, out, FUSED[0]).run(until=60)
    assert out.end == end


@pytest.mark.parametrize("seed", range(3))
async def test_a_cancelled_shard_leaves_no_task_and_no_unheard_exception(
    seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, out, random = await filled(seed, 200), empty(), Random(seed)
    before = asyncio.all_tasks()
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    for _ in range(25):
        out.faults = [random.choice([None, Fault.LANDED, Fault.LOST]) for _ in range(3)]
        rivals = [
            Shard(log, out, FUSED[0], EVERY, tmp_path, Limits(batch_messages_max=9, snapshot_ns=1))
            for _ in range(2)
        ]
        running = [asyncio.create_task(rival.run(until=200)) for rival in rivals]
        for _ in range(random.randrange(120)):
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert asyncio.all_tasks() == before
    gc.collect()
    await asyncio.sleep(0)
    assert heard == []


async def test_a_first_checkpoint_like_ours_does_not_hide_that_another_owner_wrote() -> None:
    """Two owners of one partition of ours, of the same code, at the same place."""
    log, out = await filled(1, 100), Landing("OUT", OUT_SUBJECTS)
    rival = Shard(log, out, Graph("main", [COUNT, FOLLOW, BEAT]), [0], code="a")
    out.instead = rival.run(until=100)
    with pytest.raises(Fenced):
        await Shard(log, out, FUSED[0], [0, 1], code="a").run(until=100)


async def test_whole_checkpoints_like_ours_are_told_from_ours_by_who_wrote_them() -> None:
    """Two owners of the same partitions, of the same code, at the same place."""
    log, out = await filled(1, 100), Landing("OUT", OUT_SUBJECTS)
    rival = Shard(log, out, FUSED[0], [0, 1], code="a", writer="rival")
    out.instead = rival.run(until=100)
    with pytest.raises(Fenced, match=r"rival committed ckpt\.main\.0\d"):
        await Shard(log, out, FUSED[0], [0, 1], code="a", writer="mine").run(until=100)


async def test_who_is_fenced_says_who_took_over() -> None:
    log, out = await filled(1, 100), MemoryLog("OUT", OUT_SUBJECTS)
    few = Limits(batch_messages_max=10)
    mine = Shard(log, out, FUSED[0], [0, 1], code="a", writer="mine", limits=few)
    await mine.run(until=50)
    await Shard(log, out, FUSED[0], [0, 1], code="a", writer="rival").run(until=100)
    with pytest.raises(Fenced, match="rival committed"):
        await mine._committer.commit([], [0, 1], log.slice(100, 101), 1, every=True)


class Landing(MemoryLog):
    """A log that loses the first request, and lets another write instead."""

    instead: Awaitable[None] | None = None

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[port.Checkpoint]
    ) -> dict[str, int]:
        if self.instead is not None:
            instead, self.instead = self.instead, None
            await instead
            raise Unavailable("the request was lost")
        return await super().transact(outputs, checkpoints)


async def test_a_log_identity_is_asked_again_before_it_is_called_shorter() -> None:
    """Another shard may have stepped what came since this one asked."""
    log, out = Late("LOG", LOG_SUBJECTS), empty()
    for fact in random_log(1, 50):
        await log.append([fact], None)
    await Shard(log, out, FUSED[0], shard_of(0, 2)).run(until=50)
    log.late = 10
    await Shard(log, out, FUSED[0], shard_of(1, 2)).run(until=50)


class Late(MemoryLog):
    """Its first answer about its end is old."""

    late = 0

    async def identity(self) -> Identity:
        found = await super().identity()
        if self.late:
            found, self.late = Identity(found.uuid, found.first, self.late), 0
        return found
