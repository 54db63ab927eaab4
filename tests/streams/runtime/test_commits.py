"""Commits larger than a transaction: cut between roots and inside one, exact wherever they stop."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tidemill.processors.processor import Emit, Processor, Records, Run
from tidemill.schemas.errors import Unavailable
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.identifiers import partition
from tidemill.schemas.kinds.bar import BAR
from tidemill.streams.log import BATCH_MESSAGES_MAX, Checkpoint, Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime import checkpoint
from tidemill.streams.runtime.committer import Committer
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import EVERY, Limits, Shard, shard_of
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.streams.runtime import facts
from tidemill.tests.streams.runtime.graphs import BEAT
from tidemill.tests.streams.runtime.playing import digest, empty, outcome

STATE = np.dtype([("count", "<u8")])
SPECS = ("1s", "1m", "5m")


def _spread(state: Records, run: Run) -> list[Emit]:
    """A dead letter for each trade, and a bar of each interval for each trade of an even price."""
    bars, letters = [], []
    for row in run.frames:
        for j in range(int(row["count"])):
            at, slot = (int(row["r"]), int(row["i"]) + j), int(row["slot"])
            trade = run.records[int(row["start"]) + j]
            state["count"][slot] += 1
            letters.append((at, slot, int(state["count"][slot])))
            if trade["price"] % 2 == 0:
                bars += [(at, slot, spec, int(state["count"][slot])) for spec in range(len(SPECS))]
    records = BAR.empty(len(bars))
    for record, (at, _, spec, count) in zip(records, bars, strict=True):
        record["at_r"], record["at_i"], record["close"] = *at, count * 10 + spec
    told = [
        DeadLetter(
            at_r=at[0],
            at_i=at[1],
            processor="spread",
            subject="",
            reason=f"trade {count}",
            policy="skip",
            payload="",
        )
        for at, _, count in letters
    ]
    slots = np.array([slot for _, slot, _ in letters], np.int32)
    nothing = np.zeros(len(letters), np.uint8)
    emits = [Emit("dead_letter", slots, nothing, BAR.empty(0), told)]
    if bars:
        slots = np.array([slot for _, slot, _, _ in bars], np.int32)
        emits.append(Emit("bar", slots, np.array([b[2] for b in bars], np.uint8), records))
    return emits


SPREAD = Processor(
    "spread",
    1,
    "pair",
    ("trade",),
    ("bar", "dead_letter"),
    STATE,
    _spread,
    specs=SPECS,
    poison="skip",
)
GRAPH = Graph("main", [SPREAD, BEAT])


async def busy(roots: int, trades: int, seed: int = 1) -> MemoryLog:
    """Return LOG with `roots` frames of `trades` trades each of one pair, of many instruments."""
    log, random = MemoryLog("LOG", LOG_SUBJECTS), Random(seed)
    venues = [f"V{k}" for k in range(5)]
    given = [facts.define("BTC", venue=venue) for venue in venues] + [facts.define("ETH")]
    for _ in range(roots):
        prices = [random.randrange(50, 90) for _ in range(trades)]
        given.append(facts.trade("BTC", prices, venue=random.choice(venues)))
    await log.append([*given, facts.trade("ETH", [50]), facts.time(1 << 40)], None)
    return log


async def stepped(log: MemoryLog, size: int) -> str:
    """Return the outcome of batches so small that each needs one transaction where possible."""
    out = empty()
    await Shard(log, out, GRAPH, limits=Limits(batch_messages_max=size)).run(until=log.end - 1)
    return digest(await outcome(out))


@pytest.mark.parametrize(("roots", "trades"), [(400, 20), (3, 2_500), (2, 998)])
async def test_a_batch_too_large_for_one_transaction_is_committed_in_parts(
    roots: int, trades: int
) -> None:
    log = await busy(roots, trades)
    assert await stepped(log, 2_000) == await stepped(log, 1) == await stepped(log, 17)


async def test_bytes_are_bounded_as_messages_are() -> None:
    log, out = await busy(60, 20), Recording("OUT", OUT_SUBJECTS)
    limits = Limits(commit_bytes_max=20_000)
    await Shard(log, out, GRAPH, limits=limits).run(until=log.end - 1)
    assert max(out.sizes) <= 20_000 and len(out.sizes) > 20
    assert digest(await outcome(out)) == await stepped(log, 2_000)


class Recording(MemoryLog):
    """Counts transactions, and fails for good at one of them, before or after it is stored."""

    def __init__(self, name: str, subjects: tuple[str, ...]) -> None:
        super().__init__(name, subjects)
        self.sizes: list[int] = []
        self.counts: list[int] = []
        self.fails_at = -1
        self.stored_first = False

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        self.sizes.append(sum(len(payload) for _, payload in outputs))
        self.counts.append(len(outputs) + len(checkpoints))
        if len(self.sizes) == self.fails_at:
            if self.stored_first:
                await super().transact(outputs, checkpoints)
            raise Killed
        return await super().transact(outputs, checkpoints)


class Killed(Exception):
    """What ends a process here."""


@pytest.mark.parametrize("stored_first", [False, True])
@pytest.mark.parametrize(("roots", "trades"), [(60, 40), (3, 1_500)])
async def test_a_kill_between_any_two_parts_loses_and_doubles_nothing(
    roots: int, trades: int, stored_first: bool, tmp_path: Path
) -> None:
    log = await busy(roots, trades)
    expected, last = await stepped(log, 1), log.end - 1
    limits = Limits(snapshot_ns=1)
    whole = Recording("OUT", OUT_SUBJECTS)
    await Shard(log, whole, GRAPH, limits=limits).run(until=last)
    assert max(whole.counts) <= BATCH_MESSAGES_MAX and len(whole.counts) > 3
    began = False
    for at in range(1, len(whole.counts) + 1):
        out = Recording("OUT", OUT_SUBJECTS)
        out.fails_at, out.stored_first = at, stored_first
        folder = tmp_path / str(at)
        with pytest.raises(Killed):
            await Shard(log, out, GRAPH, EVERY, folder, limits).run(until=last)
        await told_is_there(out)
        newest = await out.last(f"ckpt.main.{partition('BTC/USDT'):02d}")
        began |= newest is not None and b'"within":{' in newest.payload
        again = Limits(batch_messages_max=Random(at).choice([1, 3, 2_000]), snapshot_ns=1)
        await Shard(log, out, GRAPH, EVERY, folder, again).run(until=last)
        assert digest(await outcome(out)) == expected, at
    assert began == (trades > BATCH_MESSAGES_MAX)


async def told_is_there(out: MemoryLog) -> None:
    """Nothing of a root is missing that a checkpoint says is done."""
    for message in await out.lasts("ckpt.>"):
        said = checkpoint.Checkpoint.read(message.payload)
        rows = [row for row in await outcome(out) if row[0].endswith(f".{said.partition:02d}")]
        if said.within is None and rows:
            assert max(row[1] for row in rows) <= said.done


async def test_partitions_without_outputs_are_spoken_for_and_taken_up_as_far_as_was_said() -> None:
    graph = Graph("main", [SPREAD])
    log, out = MemoryLog("LOG", LOG_SUBJECTS), Recording("OUT", OUT_SUBJECTS)
    given = [facts.define("BTC"), facts.define("ETH"), facts.time(1), facts.trade("BTC", [2])]
    for fact in [*given, facts.time(2), facts.time(3), facts.trade("ETH", [2], first=1)]:
        await log.append([fact], None)
    one_by_one = Limits(batch_messages_max=1)
    await Shard(log, out, graph, limits=one_by_one).run(until=6)
    btc = partition("BTC/USDT")
    assert out.counts[0] == len(EVERY), "the first says everything"
    assert out.counts[-2:] == [1, 1], "nothing new but the time: one message"
    said = [checkpoint.Checkpoint.read(m.payload) for m in await out.lasts("ckpt.main.*")]
    assert set(checkpoint.progress(said).values()) == {6}
    assert {one.partition: one.done for one in said}[btc] == 4
    one = shard_of(partition("ETH/USDT") % 3, 3)
    taken = Committer(out, graph, "", "", 1 << 20, 0.1)
    covered = taken.recall(log.uuid, one, await checkpoints_of(out))
    assert set(covered.values()) == {6} and {known.done for known in taken.committed.values()} == {
        6
    }
    alone = empty()
    await Shard(log, alone, graph).run(until=7)
    for index in range(3):
        await Shard(log, out, graph, shard_of(index, 3), limits=one_by_one).run(until=7)
    assert digest(await outcome(out)) == digest(await outcome(alone))


async def checkpoints_of(out: MemoryLog) -> list[tuple[Message, checkpoint.Checkpoint]]:
    return [(m, checkpoint.Checkpoint.read(m.payload)) for m in await out.lasts("ckpt.*.*")]


async def test_lost_acknowledgements_of_parts_are_found_out() -> None:
    log = await busy(3, 1_500)
    out = Losing("OUT", OUT_SUBJECTS)
    limits = Limits(retry_s_max=0.001)
    await Shard(log, out, GRAPH, limits=limits).run(until=log.end - 1)
    assert out.lost > 3
    assert digest(await outcome(out)) == await stepped(log, 1)


class Losing(MemoryLog):
    """Every transaction is stored, and every other answer lost."""

    lost = 0
    asked = 0

    async def transact(
        self, outputs: Sequence[tuple[str, bytes]], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, int]:
        found = await super().transact(outputs, checkpoints)
        self.asked += 1
        if self.asked % 2:
            self.lost += 1
            raise Unavailable("the acknowledgement was lost")
        return found
