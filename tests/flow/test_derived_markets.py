"""Books, derivatives and arbitrage through the real runtime: one LOG, one outcome.

A LOG of four venues' books, quotes, contracts, fees, gaps and silences is stepped fused and split,
by 1, 2 and 5 shards, in batches of any size, and by processes that end and go on from snapshots.
"""

import asyncio
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tidemill.deploy.graphs import graphs
from tidemill.deploy.settings import GraphLayout
from tidemill.schemas import events, frame, kinds
from tidemill.schemas.enums import RecordFlag
from tidemill.schemas.events.activity_bars import ActivityBarsDefined
from tidemill.schemas.events.anomalies import AnomaliesDefined
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.feed import BookGapDetected, RecordsGivenUp
from tidemill.schemas.events.fees import FeesDefined
from tidemill.schemas.events.indicators import IndicatorSetDefined
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.events.screens import ScreenDefined
from tidemill.schemas.identifiers import ALL
from tidemill.schemas.identifiers import partition as partition_of
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.run import Records
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.shard import Limits, Shard, shard_of
from tidemill.tests.flow.logs import append, out_in_memory
from tidemill.tests.flow.outcomes import derived
from tidemill.tests.flow.sources import Facts

T = 1_723_075_200_000_000_000
SECOND = 1_000_000_000
PRICES, QUANTITIES = -2, -5
DERIVED_KINDS = (
    *("book_metrics", "book_level", "book_snapshot", "derivative_metrics", "opportunity"),
    *("resampled_bar", "composite_bar", "indicator", "signal", "anomaly"),
)


class Markets:
    """Instruments of three pairs at four venues, spot and perpetual, and random facts of them."""

    def __init__(self, seed: int, begin: int = T - 8 * SECOND) -> None:
        """Begin before midnight, when bars of nearly all lengths close."""
        self.random = Random(seed)
        self.facts: Facts = []
        self.now = begin
        self.instruments = [
            InstrumentDefined(
                venue=venue, symbol=f"{base}USDT-{product}", product=product, base=base,
                quote="USDT", kind="SPOT" if product == "SPOT" else "PERPETUAL",
                price_exponent=PRICES, quantity_exponent=QUANTITIES,
                contract_multiplier="1" if product == "SPOT" else "0.01",
                funding_interval_s=0 if product == "SPOT" else 28_800,
            )
            for base in ("BTC", "ETH", "SOL")
            for venue, product in (("A", "SPOT"), ("B", "SPOT"), ("C", "SPOT"), ("D", "SWAP"))
        ]  # fmt: skip
        self.composites = [
            InstrumentDefined(
                venue="COMPOSITE", symbol=f"{base}USDT", product="COMPOSITE", base=base,
                quote="USDT", price_exponent=PRICES - up, quantity_exponent=QUANTITIES - up,
            )
            for base, up in (("BTC", 0), ("ETH", 2), ("SOL", 0))
        ]  # fmt: skip
        self.update = 0

    def make(self, seconds: int) -> Facts:
        self.define(self.instruments[:5])
        self.charge("A")
        self.define(self.composites[:1])
        self.compose("BTC", "A", "B", "C")
        self.indicate("1s", "3m", "sma(2)", "obv", "rsi(2)", "ema(3)")
        self.count("3-TICK", "RENKO", "RANGE", "4-VALUE_RUNS")
        self.screen("rising", "1s", "close > prev(close) and not low > highest(high, 3)")
        self.screen("turns", "1s", "crosses_above(close, sma(2)) or rsi(2) < 40")
        self.detect("bars", "1s", "volume_z(5)", "range_z(5)", "flash_crash(1)")
        self.detect("ticks", "tick", "flash_crash(1)", "flash_crash(2)", "return_z(5)")
        for tenth in range(10 * seconds):
            if tenth == 20:
                self.define(self.instruments[5:])
                self.define(self.composites[1:])
                self.compose("ETH", "C", "B", hold_s=2)
                self.charge("B")
            if tenth == 10 * seconds // 2:
                self.charge("A")
                self.compose("BTC", "B", "A")
                self.compose("SOL", "A", "C", "B", "E")
                self.indicate("1s", "tick", "atr(3)", "ema(3)", "sma(2)")
                self.count("2-TICK", "RENKO", "4-VALUE_RUNS", "3-TICK_IMBALANCE")
                self.screen("turns", "1s", "prev(rsi(2), 2) > 45 or lowest(low, 3) == low")
                self.screen("score", "1s", "")
                self.detect("bars", "1s", "return_z(5)", "volume_z(5)", "flash_crash(1)")
                self.detect("books", "1s", "flash_crash(2)", "pump_and_dump(5)")
                self.screen("books", "1s", "spread > 4 or depth_1pct > depth_5pct - 100")
                self.screen("rates", "1s", "funding_rate > 0.00015 or basis > 0")
                self.screen("held", "1s", "imbalance > prev(imbalance) or open_interest > 5000")
            if tenth == 10 * seconds - 30:
                self.facts.append(
                    ("ctl.composites.eth", events.encode(CompositeRemoved(name="eth")))
                )
            known = self.instruments[: 5 if tenth < 20 else None]
            for _ in range(self.random.randrange(12)):
                self.say(self.random.choice(known))
            self.statuses(tenth)
            self.now += SECOND // 10
            record = KINDS["time"].empty(1)
            record["ts"] = self.now
            self.facts.append(("time", frame.encode(KINDS["time"], record, len(self.facts))))
        return self.facts

    def define(self, instruments: list[InstrumentDefined]) -> None:
        for one in instruments:
            self.tell("instrument", one, one)

    def charge(self, venue: str) -> None:
        fees = FeesDefined(
            venue=venue, product="SPOT", taker_ppm=self.random.choice((0, 20, 100)), maker_ppm=0
        )
        self.facts.append((f"ctl.fees.{venue}.SPOT", events.encode(fees)))

    def indicate(self, *asked: str) -> None:
        """Ask for indicators from here on, on bars of the specs that are named before them."""
        bars = tuple(one for one in asked if one in ("1s", "3m", "tick"))
        wanted = IndicatorSetDefined(
            name="some", instruments=("*",), bars=bars, indicators=asked[len(bars) :]
        )
        self.facts.append(("ctl.indicators.some", events.encode(wanted)))

    def count(self, *bars: str) -> None:
        """Ask for bars by what is traded from here on."""
        wanted = ActivityBarsDefined(name="some", instruments=("*",), bars=bars)
        self.facts.append(("ctl.activity_bars.some", events.encode(wanted)))

    def compose(self, base: str, *venues: str, hold_s: int = 5) -> None:
        """Make bars over venues from here on, of every interval."""
        wanted = CompositeDefined(
            name=base.lower(), instrument=f"{base}USDT.COMPOSITE", hold_s=hold_s,
            members=tuple(f"{base}USDT-SPOT.{venue}" for venue in venues),
            bars=("1s", "1m", "5m", "15m", "1h", "4h", "1d"),
        )  # fmt: skip
        self.facts.append((f"ctl.composites.{wanted.name}", events.encode(wanted)))

    def screen(self, name: str, bars: str, condition: str) -> None:
        """Watch every instrument from here on."""
        wanted = ScreenDefined(name=name, instruments=("*",), bars=bars, condition=condition)
        self.facts.append((f"ctl.screens.{name}", events.encode(wanted)))

    def detect(self, name: str, bars: str, *detectors: str) -> None:
        """Look for anomalies of every instrument from here on."""
        wanted = AnomaliesDefined(name=name, instruments=("*",), bars=bars, detectors=detectors)
        self.facts.append((f"ctl.anomalies.{name}", events.encode(wanted)))

    def statuses(self, tenth: int) -> None:
        for venue, product in (("A", "SPOT"), ("B", "SPOT"), ("C", "SPOT"), ("D", "SWAP")):
            if tenth % 5 == 0 and not (venue == "B" and 50 < tenth < 120):
                record = KINDS["status"].empty(1)
                record["venue_time"] = record["ts_recv"] = self.now
                subject = subjects.md("status", venue, product, ALL)
                self.facts.append((subject, frame.encode(KINDS["status"], record, tenth)))

    def subject(self, kind: str, one: InstrumentDefined) -> str:
        return subjects.md(kind, one.venue, one.symbol, partition_of(one.pair))

    def tell(self, kind: str, one: InstrumentDefined, event: Event) -> None:
        self.facts.append((self.subject(kind, one), events.encode(event)))

    def add(self, kind: str, one: InstrumentDefined, records: Records) -> None:
        payload = frame.encode(KINDS[kind], records, len(self.facts), PRICES, QUANTITIES)
        self.facts.append((self.subject(kind, one), payload))

    def say(self, one: InstrumentDefined) -> None:
        what = self.random.random()
        if what < 0.12:
            self.book(one, self.random.choice((3, 60)), RecordFlag.SNAPSHOT)
        elif what < 0.6:
            self.book(one, self.random.choice((1, 2, 40)), RecordFlag.NONE)
        elif what < 0.75 and one.venue == "C":
            self.quote(one)
        elif what < 0.9 and one.product == "SWAP":
            self.derivative(one)
        elif what < 0.92:
            gap = BookGapDetected(
                venue=one.venue, symbol=one.symbol, last_update_id=1, expected_id=1,
                received_id=5, ts_recv=self.now, reason="GAP",
            )  # fmt: skip
            self.tell("event", one, gap)
        elif what < 0.925:
            lost = RecordsGivenUp(
                venue=one.venue, product=one.product, records=1, ts_from=self.now,
                ts_to=self.now, reason="slow",
            )  # fmt: skip
            subject = subjects.md("event", one.venue, one.product, ALL)
            self.facts.append((subject, events.encode(lost)))
        else:
            self.trade(one)

    def middle(self) -> int:
        return 1_000_000 + self.random.randrange(-400, 400)

    def book(self, one: InstrumentDefined, count: int, flags: RecordFlag) -> None:
        if one.venue == "C":
            return
        self.update += 1
        records = KINDS["book"].empty(count)
        records["ts_event"] = records["ts_recv"] = self.now
        records["last_update_id"], records["flags"] = self.update, flags
        for record in records:
            side = self.random.choice((1, 2))
            away = self.random.randrange(20, 3_000)
            middle = 1_000_000 + {"A": -300, "B": 300}.get(one.venue, 0)
            record["side"], record["price"] = side, middle + (away if side == 2 else -away)
            record["quantity"] = self.random.choice((0, 1, 10**5, 10**7))
        records["flags"][-1] |= RecordFlag.LAST
        self.add("book", one, records)

    def quote(self, one: InstrumentDefined) -> None:
        record, middle = KINDS["quote"].empty(1), self.middle()
        record["ts_event"] = record["ts_recv"] = self.now
        record["bid_price"], record["ask_price"] = middle - 10, middle + 10
        record["bid_quantity"] = record["ask_quantity"] = 10**5
        self.add("quote", one, record)

    def derivative(self, one: InstrumentDefined) -> None:
        record = KINDS["derivative"].empty(1)
        record["ts_event"] = record["ts_recv"] = self.now
        record["mark_price"], record["index_price"] = self.middle(), self.middle()
        record["funding_rate"] = self.random.choice((1, 2)) * 10**8
        record["open_interest"], record["fields"] = self.random.randrange(10**9), 0b100111
        self.add("derivative", one, record)

    def trade(self, one: InstrumentDefined) -> None:
        record = KINDS["trade"].empty(1)
        self.update += 1
        record["ts_event"] = record["ts_recv"] = self.now
        record["price"], record["quantity"], record["trade_id"] = self.middle(), 5, self.update
        self.add("trade", one, record)


async def filled(seed: int, seconds: int = 20) -> MemoryLog:
    log = MemoryLog("LOG", subjects.LOG_SUBJECTS)
    await append(log, Markets(seed).make(seconds))
    return log


async def run(
    log: MemoryLog,
    out: MemoryLog,
    layout: GraphLayout,
    count: int,
    random: Random,
    until: int,
    snapshots: Path | None = None,
) -> None:
    shards = [
        Shard(
            log, out, graph, shard_of(index, count), snapshots,
            Limits(batch_messages_max=random.choice((1, 7, 50, 2_000)), snapshot_ns=3 * SECOND),
        )
        for graph in graphs(layout).values()
        for index in range(count)
    ]  # fmt: skip
    await asyncio.wait_for(asyncio.gather(*(shard.run(until=until) for shard in shards)), 120)


async def test_any_shards_and_layout_give_the_same_books_derivatives_and_opportunities() -> None:
    log, whole = await filled(5), out_in_memory()
    last = log.end - 1
    await run(log, whole, "fused", 1, Random(0), last)
    made: Counter[str] = Counter()
    for message in whole.slice(1, whole.end):
        if message is not None and subjects.parse(message.subject).kind in KINDS:
            frame_ = kinds.decode(message.payload)
            made[frame_.kind.name] += len(frame_.records)
    for kind in DERIVED_KINDS:
        assert made[kind] > (3 if kind == "anomaly" else 10), made
    expected = await derived(whole)
    ways: list[tuple[GraphLayout, int]] = [("split", 1), ("fused", 2), ("split", 2), ("fused", 5)]
    for layout, count in ways:
        out = out_in_memory()
        await run(log, out, layout, count, Random(count), last)
        assert await derived(out) == expected, (layout, count)


@pytest.mark.parametrize("layout", ["fused", "split"])
async def test_processes_that_end_go_on_from_their_snapshots(
    layout: GraphLayout, tmp_path: Path
) -> None:
    facts = Markets(9).make(20)
    log, out = MemoryLog("LOG", subjects.LOG_SUBJECTS), out_in_memory()
    for part, count in ((3, 2), (2, 1), (1, 5)):
        await append(log, facts[log.end - 1 : len(facts) // part])
        await run(log, out, layout, count, Random(part), log.end - 1, tmp_path)
        assert list(tmp_path.rglob("*.snap"))
    whole = out_in_memory()
    await run(log, whole, layout, 1, Random(0), log.end - 1)
    assert await derived(out) == await derived(whole)
