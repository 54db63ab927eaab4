"""What cannot be stepped: the same dead letters in whatever batches, shards and restarts."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tidemill.processors.bars import BARS
from tidemill.processors.price import PRICE
from tidemill.schemas import events, frame
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.control import CodeDeployed, DeadLetterSkipped
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.feed import FeedConnected
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.runtime.shard import EVERY, Limits, Shard
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.streams.runtime import facts
from tidemill.tests.streams.runtime.facts import Fact
from tidemill.tests.streams.runtime.graphs import BEAT, COUNT, FOLLOW
from tidemill.tests.streams.runtime.playing import FUSED, SPLIT, empty, outcome, run_all


async def log_of(given: Sequence[Fact]) -> MemoryLog:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    for fact in given:
        await log.append([fact], None)
    return log


async def letters(out: MemoryLog) -> list[DeadLetter]:
    """All dead letters by (r, i), processor."""
    told = [events.decode(row[-1]) for row in await outcome(out) if row[0].startswith("dlq.")]
    found = [one for one in told if isinstance(one, DeadLetter)]
    return sorted(found, key=lambda one: (one.at_r, one.at_i, one.processor))


async def everywhere(log: MemoryLog) -> list[DeadLetter]:
    """Play a log in batches, shards and graphs of every size; return the one outcome's letters."""
    first = None
    for graphs, count, seed in ((FUSED, 1, 1), (FUSED, 1, 2), (FUSED, 3, 3), (SPLIT, 2, 4)):
        out = empty()
        await run_all(log, out, graphs, count, Random(seed))
        rows = await outcome(out)
        first = first or rows
        assert rows == first, (graphs[0].name, count)
    for size in (1, 2, 1_000):
        out = empty()
        limits = Limits(batch_messages_max=size)
        await Shard(log, out, FUSED[0], limits=limits).run(until=log.end - 1)
        assert await outcome(out) == first, size
    return await letters(out)


BTC = [facts.define("BTC"), facts.define("ETH"), facts.status()]


async def test_a_torn_fact_of_a_whole_feed_is_one_dead_letter_of_each_reader() -> None:
    torn = [facts.torn(facts.status()), facts.torn(facts.time(5))]
    found = await everywhere(await log_of([*BTC, *torn, facts.time(10), facts.status()]))
    told = [(one.at_r, one.processor, one.n >> 24) for one in found]
    assert told == [(4, "beat", ALL), (4, "count", ALL), (5, "beat", ALL), (5, "follow", ALL)]


async def test_a_key_is_parked_from_its_first_bad_record_also_within_one_batch() -> None:
    given = [
        *BTC,
        facts.trade("BTC", [13, 50]),  # r=4 is refused by check
        facts.trade("BTC", [50, 51, 52]),
        facts.torn(facts.trade("BTC", [50])),  # r=6 cannot be read, and is found first
        facts.trade("BTC", [50, 51, 52]),
        facts.trade("ETH", [50, 51, 52]),
        facts.time(10),
    ]
    found = [one for one in await everywhere(await log_of(given)) if one.processor == "follow"]
    assert {one.at_r for one in found} == {4, 5, 6, 7}
    assert all("since r=4" in one.reason for one in found if one.at_r in (5, 7))


async def test_a_skipped_record_lets_its_key_go_on_from_the_place_of_the_skip() -> None:
    skip = DeadLetterSkipped(processor="follow", r=4, reason="known")
    given = [
        *BTC,
        facts.trade("BTC", [13, 50]),
        facts.quotes("BTC", [1, 2]),
        facts.control("ctl.skip.follow", skip),
        ("ctl.skip.other", b"not ours to read"),
        facts.trade("BTC", [50, 51, 52]),
        facts.time(10),
    ]
    found = [one for one in await everywhere(await log_of(given)) if one.processor == "follow"]
    assert [one.at_r for one in found] == [4, 5]


async def test_a_definition_on_the_subject_of_another_instrument_or_partition_is_refused() -> None:
    event = facts.define("BTC")[1]
    other = subjects.md("instrument", "V", "BTCUSDT", (partition("BTC/USDT") + 1) % 64)
    wrong = [(other, event), (facts.on("instrument", "ETH"), event)]
    wrong.append((subjects.md("instrument", "V", "BTCUSDT", ALL), event))
    given = [*wrong, facts.trade("BTC", [50]), facts.define("BTC"), facts.trade("BTC", [50] * 3)]
    found = await everywhere(await log_of([*given, facts.time(10)]))
    told = [(one.at_r, one.processor) for one in found]
    assert told == [(r, name) for r in (1, 2, 3, 4) for name in ("count", "follow")]


async def test_an_event_that_is_no_fact_of_the_market_is_refused_where_events_are_read() -> None:
    graph = Graph("main", [BARS])
    connected = FeedConnected(venue="V", product="SPOT", connection=1, ts_recv=1)
    deployed = CodeDeployed(graph="main", code_hash="x")
    where = subjects.md("event", "V", "SPOT", ALL)
    log = await log_of(
        [
            facts.status(),
            (where, events.encode(connected)),
            (where, events.encode(deployed)),
            (where, b"[]"),
            facts.time(10),
        ]
    )
    out = empty()
    await Shard(log, out, graph).run(until=5)
    assert [one.at_r for one in await letters(out)] == [3, 4]


async def test_a_frame_of_one_kind_on_the_subject_of_another_is_refused() -> None:
    quote = frame.encode(QUOTE, QUOTE.empty(2), 1)
    given = [*BTC, (facts.on("trade", "BTC"), quote), facts.time(10)]
    found = await everywhere(await log_of(given))
    assert [(one.at_r, one.processor) for one in found] == [(4, "count"), (4, "follow")]
    assert "quote frame on a subject of trade" in found[0].reason


async def test_what_no_subject_of_ours_names_concerns_nobody() -> None:
    strange = ["md.trade.V", "md.trade.V.BTCUSDT.77", "md.trade.V.BTCUSDT.07.more", "md.new.V.S.07"]
    strange += ["md.time.V.SPOT.all", "md.ctl.V.S.07", "md.time.V.BTCUSDT.07"]
    payload = facts.time(1 << 60)[1]
    given = [fact for name in strange for fact in ((name, payload), *BTC)]
    assert await everywhere(await log_of([*given, facts.time(10)])) == []


async def test_frames_of_a_later_version_are_read_beside_ours_whatever_the_batches() -> None:
    later = frame.Kind(
        "trade",
        TRADE.template_id,
        "",
        (*TRADE.fields, frame.Field("venue_flag", "uint8", "", since=TRADE.version + 1)),
    )
    wide = later.empty(3)
    for name in TRADE.dtype.names or ():
        wide[name] = 1
    wide["price"], wide["trade_id"] = [50, 51, 52], [4, 5, 6]
    given = [
        facts.define("BTC"),
        facts.status(),
        facts.trade("BTC", [50, 51, 52]),
        (facts.on("trade", "BTC"), frame.encode(later, wide, 1, -2, -8)),
        facts.trade("BTC", [53, 54], first=7),
        facts.time(10),
    ]
    seen = set()
    for size in (1, 2, 1_000):
        engine = Engine(Graph("main", [dataclasses.replace(BARS, poison="skip"), PRICE]), EVERY)
        log = await log_of(given)
        messages = [m for m in log.slice(1, log.end) if m is not None]
        made = [engine.step(messages[k : k + size]) for k in range(0, len(messages), size)]
        assert not any(o.subject.startswith("dlq.") for outputs in made for o in outputs)
        state = engine.section(partition("BTC/USDT")).parts
        seen.add(b"".join(state[name].rows.tobytes() for name in sorted(state)))
    assert len(seen) == 1


def _bad(count: int, gap: int) -> list[Fact]:
    """`count` trades that `count` cannot read, `gap` facts apart."""
    one = facts.torn(facts.trade("BTC", [1]))
    return [fact for _ in range(count) for fact in (one, *[facts.time(10)] * (gap - 1))]


@pytest.mark.parametrize("size", [1, 7, 2_000])
async def test_ten_dead_letters_in_ten_thousand_facts_pass_and_the_eleventh_halts(
    size: int, tmp_path: Path
) -> None:
    for gap, halts in ((1, True), (900, True), (1_000, False)):
        if gap > 1 and size == 1:
            continue
        log = await log_of([facts.define("BTC"), *_bad(11, gap)])
        messages = [m for m in log.slice(1, log.end) if m is not None]
        engine = Engine(Graph("main", [COUNT]), EVERY)
        steps = [messages[k : k + size] for k in range(0, len(messages), size)]
        if not halts:
            assert sum(len(engine.step(step)) for step in steps) == 11
            continue
        with pytest.raises(Unreadable, match=f"r={2 + 10 * gap}: over 10"):
            for step in steps:
                engine.step(step)


async def test_dead_letters_before_a_restart_count_after_it(tmp_path: Path) -> None:
    log = await log_of([facts.define("BTC"), *_bad(6, 1), facts.time(1 << 40)])
    graph, limits = Graph("main", [COUNT, BEAT]), Limits(snapshot_ns=1)
    out = empty()
    await Shard(log, out, graph, EVERY, tmp_path, limits).run(until=8)
    assert list(tmp_path.rglob("*.snap"))
    for fact in [*_bad(5, 1), facts.time(1 << 41)]:
        await log.append([fact], None)
    with pytest.raises(Unreadable, match="over 10 dead letters"):
        await Shard(log, out, graph, EVERY, tmp_path, limits).run(until=14)
    skip = DeadLetterSkipped(processor="count", r=13, reason="known")
    await log.append([facts.control("ctl.skip.count", skip)], None)
    await Shard(log, out, graph, EVERY, tmp_path, limits).run(until=15)
    assert [one.at_r for one in await letters(out)] == [*range(2, 8), *range(9, 14)]


async def test_a_processor_that_halts_commits_nothing_of_the_batch_and_goes_on_when_told() -> None:
    graph = Graph("main", [dataclasses.replace(FOLLOW, poison="halt", reads=("trade", "time"))])
    log = await log_of([*BTC, facts.trade("BTC", [50]), facts.torn(facts.trade("BTC", [1]))])
    out = empty()
    with pytest.raises(Unreadable, match="follow halts at r=5"):
        await Shard(log, out, graph).run(until=5)
    assert await out.last("ckpt.>") is None and await letters(out) == []
    skip = DeadLetterSkipped(processor="follow", r=5, reason="known")
    await log.append([facts.control("ctl.skip.follow", skip)], None)
    await Shard(log, out, graph).run(until=6)
    assert [one.at_r for one in await letters(out)] == [5]
    assert np.all([one.policy == "halt" for one in await letters(out)])
