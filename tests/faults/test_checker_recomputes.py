"""What the checker computes again is what the engine makes: of books, contracts, bars, prices."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tidemill.deploy.load import Load
from tidemill.schemas import events, frame
from tidemill.schemas.events.activity_bars import ActivityBarsDefined, ActivityBarsRemoved
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.tests.faults.checker.activity_bars import SPECS
from tidemill.tests.faults.checker.bars import INTERVALS_S, InstrumentBars
from tidemill.tests.faults.checker.messages import Message
from tidemill.tests.faults.judging import judged
from tidemill.tests.flow.logs import append, out_in_memory
from tidemill.tests.flow.sources import Facts
from tidemill.tests.flow.test_derived_markets import Markets, run
from tidemill.tests.processors.oracle_logs import BadDay
from tidemill.tests.processors.runs import SECOND, Log


def bad_day(seed: int, facts: int) -> Facts:
    """A bad day of trades as messages of LOG, with the time."""
    log: Log = BadDay(seed).make(facts)
    made: Facts = []
    pairs = [("BTC", "USDT"), ("ETH", "USDT"), ("SOL", "USDT")]
    for base, quote in pairs:
        one = InstrumentDefined(venue="BINANCE", symbol=base + quote, base=base, quote=quote,
                                product=feed_of(len(made)))  # fmt: skip
        made.append((subject_of("instrument", len(made), pairs), events.encode(one)))
    ts = 0
    for at, fact in enumerate(log.facts):
        made += [activity_bars(*bars) for when, bars in SETS.items() if when == at]
        where = subject_of(fact.kind, fact.slot, pairs)
        if fact.slot < 0:
            where = subjects.md(fact.kind, "BINANCE", feed_of(fact.feed), ALL)
        if fact.event is not None:
            made.append((where, events.encode(fact.event)))
            continue
        payload = frame.encode(KINDS[fact.kind], fact.records, len(made), *fact.exponents)
        made.append((where, payload))
        if fact.kind == "status":
            ts = max(ts, int(fact.records["ts_recv"][-1]))
            time = KINDS["time"].empty(1)
            time["ts"] = ts
            made.append(("time", frame.encode(KINDS["time"], time, len(made))))
    return made


SETS = {
    0: ("3-TICK", "VOLUME", "1-VALUE", "5-TICK_RUNS", "RENKO"),
    40: ("3-TICK", "0.5-VOLUME", "5-TICK_RUNS", "4-VOLUME_IMBALANCE", "RENKO", "0.000001-RANGE"),
    90: (),
    110: ("2-TICK", "3-VALUE_RUNS", "5-TICK_RUNS", "0.00000001-RENKO"),
}
"""Bars by what is traded that LOG asks for, by the fact before which it does."""


def activity_bars(*bars: str, on: str = "*") -> tuple[str, bytes]:
    if not bars:
        return "ctl.activity_bars.some", events.encode(ActivityBarsRemoved(name="some"))
    wanted = ActivityBarsDefined(name="some", instruments=(on,), bars=bars)
    return "ctl.activity_bars.some", events.encode(wanted)


def feed_of(slot: int) -> str:
    return ("SPOT", "MARGIN")[slot % 2]


def subject_of(kind: str, slot: int, pairs: Sequence[tuple[str, str]]) -> str:
    base, quote = pairs[slot]
    return subjects.md(kind, "BINANCE", base + quote, partition(f"{base}/{quote}"))


def poisoned(facts: Facts, seed: int) -> Facts:
    """The same with messages that cannot be read, sometimes."""
    random = Random(seed)
    made = list(facts)
    for _ in range(4):
        at = random.randrange(5, len(made))
        subject, payload = made[at]
        if subject.startswith("md."):
            made[at] = (subject, payload[:-1] + bytes([payload[-1] ^ 1]))
    return made


async def run_in_memory(facts: Facts, shards: int = 2) -> tuple[list[Message], list[Message]]:
    """LOG and OUT of the real runtime."""
    log, out = MemoryLog("LOG", subjects.LOG_SUBJECTS), out_in_memory()
    await append(log, facts)
    await run(log, out, "fused", shards, Random(1), log.end - 1)
    both = [[Message(*m) for m in one.slice(1, one.end) if m is not None] for one in (log, out)]
    return both[0], both[1]


@pytest.mark.parametrize("seed", range(3))
async def test_markets_of_the_engine_are_those_computed_again(seed: int, tmp_path: Path) -> None:
    log, out = await run_in_memory(Markets(seed).make(20))
    verdicts = judged(log, out, tmp_path)
    assert verdicts.ok, verdicts.text()
    assert verdicts.of["I3"].checked > 1_000


@pytest.mark.parametrize("seed", range(6))
async def test_bad_days_of_the_engine_are_those_computed_again(seed: int, tmp_path: Path) -> None:
    log, out = await run_in_memory(bad_day(seed, 150))
    verdicts = judged(log, out, tmp_path)
    assert verdicts.ok, verdicts.text()
    assert verdicts.of["I3"].checked > 50
    assert verdicts.of["I10"].checked > 0


@pytest.mark.parametrize("seed", range(4))
async def test_what_cannot_be_read_gets_the_same_dead_letters(seed: int, tmp_path: Path) -> None:
    """And parks what the engine parks: the rest is the same, too."""
    log, out = await run_in_memory(poisoned(bad_day(seed, 60), seed))
    verdicts = judged(log, out, tmp_path)
    assert verdicts.ok, verdicts.text()
    assert verdicts.of["I10"].checked > 2


async def test_dense_trades_end_bars_of_every_aggregation_where_the_checker_says(
    tmp_path: Path,
) -> None:
    """As a load makes them: long frames, in which several bars of one aggregation end."""
    load = Load(1, 1, per_frame=700, seed=3)
    subject = subjects.md("trade", "BINANCE", "BTCUSDT", partition("BTC/USDT"))
    one = InstrumentDefined(
        venue="BINANCE", symbol="BTCUSDT", product="SPOT", base="BTC", quote="USDT"
    )
    facts: Facts = [(subject.replace(".trade.", ".instrument."), events.encode(one))]
    facts.append(activity_bars(*(spec.upper() for spec in SPECS)))
    begin = int(load.prices[0])
    for at in range(40):
        (records,) = load.records(700)
        records["aggressor_side"][at % 5 :: 9] = 0
        records["price"] += 500 * (records["price"] - begin)
        facts.append((subject, frame.encode(KINDS["trade"], records, at, -8, -8)))
    log, out = await run_in_memory(facts, shards=1)
    verdicts = judged(log, out, tmp_path)
    assert verdicts.ok, verdicts.text()
    ended = {m.subject.split(".")[1] for m in out if m.subject.startswith("activity_bars.")}
    assert ended == set(SPECS)


@pytest.mark.parametrize("seed", range(3))
def test_bars_by_numpy_are_those_made_trade_by_trade(seed: int) -> None:
    """Dense trades over a midnight, ids in order but for a hole, as a load makes them."""
    load = Load(1, 1, per_frame=500, seed=seed)
    load.ts -= 3_600 * SECOND
    made = [InstrumentBars(), InstrumentBars()]
    for at in range(16):
        (records,) = load.records(500)
        if at % 7 == 3:
            records = np.delete(records, slice(300, 302))
        for one, fast in zip(made, (True, False), strict=True):
            one.trades(records, fast)
            if at % 5 == 0:
                one.status(load.ts, int(at % 10 == 0), load.ts, of_feed=True)
            if at % 7 == 4:
                lost = one.missing
                assert lost is not None
                one.declared(load.ts - SECOND, load.ts, (lost[0], lost[1] - 1))
    assert made[0].emitted == made[1].emitted
    assert {row["interval_s"] for _, _, row in made[0].emitted} == set(INTERVALS_S)
