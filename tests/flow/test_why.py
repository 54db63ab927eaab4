"""Why an event is as it is: what is named as its inputs is what made it, no more and no less.

The proof is by the engine itself, on whole logs of the simulated exchange and of random markets:
from the named inputs alone it makes the same values; without any one of them it does not; and
without anything that is not named it still does.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tidemill.deploy.commands import why as command
from tidemill.deploy.rebuilding import with_upstream
from tidemill.deploy.replaying import step
from tidemill.deploy.why import explaining
from tidemill.deploy.why.deriving import Record, records
from tidemill.deploy.why.explaining import explain
from tidemill.deploy.why.naming import Made, Sent, parse
from tidemill.processors.catalog import PROCESSORS
from tidemill.schemas import frame, kinds
from tidemill.streams.log import Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow.logs import append, out_in_memory
from tidemill.tests.flow.sources import SETS, Facts, Source
from tidemill.tests.flow.test_derived_markets import Markets
from tidemill.tests.flow.test_trimmed import trimmed

EVERYTHING = 1_000_000


@dataclass(repr=False)  # pytest asks for it, and it would be long
class Played:
    """A LOG, what was derived of it, and the derived records by kind, with their OUT sequence."""

    log: MemoryLog
    out: MemoryLog
    messages: list[Message]
    records: dict[str, list[tuple[int, int, Record]]]


async def played(facts: Facts) -> Played:
    log, out = MemoryLog("LOG", LOG_SUBJECTS), out_in_memory()
    await append(log, facts)
    await step(log, out)
    found: dict[str, list[tuple[int, int, Record]]] = {}
    for message in out.slice(1, out.end):
        if message is not None and not message.subject.startswith("ckpt."):
            for i, record in enumerate(records(message.subject, message.payload)):
                found.setdefault(record.name.kind, []).append((message.sequence, i, record))
    messages = [message for message in log.slice(1, log.end) if message is not None]
    return Played(log, out, messages, found)


_PLAYED: dict[str, Played] = {}


@pytest.fixture
async def trades(exchanged: Source) -> Played:
    """Two venues' trades and quotes over 80 s, with holes, late trades and a silence."""
    if "trades" not in _PLAYED:
        _PLAYED["trades"] = await played([*SETS, *exchanged.facts])
    return _PLAYED["trades"]


@pytest.fixture
async def markets(request: pytest.FixtureRequest) -> Played:
    """Books, quotes, contracts and fees of four venues over 16 s, with gaps and a silence."""
    kind = request.node.callspec.params.get("kind") if hasattr(request.node, "callspec") else ""
    name = "wild" if kind == "anomaly" else "markets"  # the first ones have none
    if name not in _PLAYED:
        _PLAYED[name] = await played(Markets(10 if name == "wild" else 7).make(16))
    return _PLAYED[name]


def chosen(played: Played, kind: str, count: int, seed: int = 3) -> list[tuple[int, int, Record]]:
    """Some derived records of a kind, the same in every run; the first and last among them."""
    found = [one for one in played.records[kind] if not closed(one[2])]
    few = Random(f"{seed} {kind}").sample(found, min(count, len(found)))
    return [found[0], *few, found[-1]]


def named_of(record: Record) -> Made:
    (made,) = (
        Made(processor, record.name.kind, record.at)
        for processor in PROCESSORS
        if record.name.kind in processor.emits
    )
    return made


def closed(record: Record) -> bool:
    """Whether an opportunity is only told to have ended: then no inputs give its numbers."""
    return record.name.kind == "opportunity" and record.shown["status"] == "CLOSED"


async def why(played: Played, record: Record) -> dict[str, Any]:
    return await explain(played.log, played.out, [named_of(record)], EVERYTHING)


def test_every_kind_that_a_processor_emits_is_explained() -> None:
    emitted = {kind for processor in PROCESSORS for kind in processor.emits}
    assert emitted | {"dead_letter"} == explaining.EXPLAIN.keys()


# --- what is said adds up, whatever the event --------------------------------------------------

OF_TRADES = ("bar", "activity_bar", "price", "feed")
OF_MARKETS = (
    "bar", "activity_bar", "price", "feed", "book_metrics", "book_level", "book_snapshot",
    "opportunity", "derivative_metrics", "indicator", "signal", "resampled_bar", "composite_bar",
    "anomaly",
)  # fmt: skip


@pytest.mark.parametrize("kind", OF_TRADES)
async def test_events_of_trades_on_a_bad_day_are_what_their_inputs_give(
    trades: Played, kind: str
) -> None:
    for sequence, i, record in chosen(trades, kind, 3):
        named = parse(f"OUT:{sequence},{i}")
        found = await explain(trades.log, trades.out, named)
        assert found["holds"] and found["checks"], found["checks"]
        assert found["event"]["record"] == record.shown
        assert found["cause"]["r"] == record.at.r


@pytest.mark.parametrize("kind", OF_MARKETS)
async def test_events_of_books_and_contracts_are_what_their_inputs_give(
    markets: Played, kind: str
) -> None:
    for _, _, record in chosen(markets, kind, 3):
        found = await why(markets, record)
        assert found["holds"], found["checks"]
        assert found["event"]["record"] == record.shown
        assert list(command.tree(found))


async def test_a_bar_has_exactly_the_trades_of_its_interval_that_had_come(trades: Played) -> None:
    bars = [record for _, _, record in trades.records["bar"]]
    revised = [record for record in bars if record.raw["revision"] > 0][:3]
    flagged = [record for record in bars if record.raw["flags"]][:3]
    assert revised and flagged
    for record in (*revised, *flagged, *(r for _, _, r in chosen(trades, "bar", 3))):
        bar, name = record.raw, record.name
        end = bar["ts_open"] + bar["interval_s"] * 10**9
        expected = []
        for message in trades.messages:
            if message.subject.startswith(f"md.trade.{name.venue}.{name.symbol}."):
                for i, row in enumerate(kinds.decode(message.payload).records):
                    at = (message.sequence, i)
                    if bar["ts_open"] <= row["ts_event"] < end and at <= record.at[:2]:
                        expected.append((at, int(row["quantity"])))
        found = await why(trades, record)
        told = found["inputs"][0]
        assert told["records"] == len(expected) == bar["trade_count"]
        assert told["volume"] == sum(quantity for _, quantity in expected) == bar["volume"]
        assert [(told[end]["r"], told[end]["i"]) for end in ("first", "last")] == [
            expected[0][0], expected[-1][0],
        ]  # fmt: skip
        assert [part["r"] for part in told["raw"]] == list(
            dict.fromkeys(r for (r, _), _ in expected)
        )


# --- and it is the engine that says so ---------------------------------------------------------

HISTORY = frozenset({
    "at_r", "at_i", "n", "flags", "revision", "changes", "status", "opened_r", "opened_i",
    "ts_opened", "liquidity_score", "confidence", "state", "missing", "late",
})  # fmt: skip
"""Fields that say when and how often a record was told, or compare it with earlier ones."""


def positions(inputs: list[Mapping[str, Any]]) -> Iterator[int]:
    """Every message of LOG that an explanation names."""
    for one in inputs:
        for raw in one.get("raw", ()):
            yield raw["r"]
        for place in (one.get("first"), *one.get("newest", {}).values()):
            if place is not None:
                yield place["r"]
        if "name" in one:
            yield int(one["name"].split(":")[1].split(",")[0])
        yield from positions(one.get("inputs", []))


CLOSING = ("anomaly", "bar", "composite_bar", "indicator", "resampled_bar", "signal")
"""Kinds that are told when a bar closes."""


class Proof:
    """Derives a record again from chosen messages of its LOG."""

    def __init__(self, played: Played, record: Record) -> None:
        made = named_of(record)
        self.record, self.partition = record, made.partition
        self.graph = Graph("proof", with_upstream([made.processor.name]))
        self.messages = played.messages
        statuses = [m for m in played.messages if m.subject.startswith("md.status.")]
        of_feeds: dict[str, list[Message]] = {}
        for m in statuses if record.name.kind in CLOSING else ():
            of_feeds.setdefault(m.subject, []).append(m)
        self.ends = [m for ms in of_feeds.values() for m in ms[-2:]]
        if record.name.venue == "COMPOSITE":
            self.ends += [m for m in played.messages if m.subject == "time"][-1:]
        """Two of a feed: after the first one closed parts the second one closes their bars."""

    def holds_with(self, kept: set[int]) -> bool:
        """Whether the record's values are told from these messages; of bars with every feed's clock
        at the end, so that they close."""
        messages = [m for m in self.messages if m.sequence in kept]
        last = messages[-1].sequence
        messages += [m for m in self.ends if m.sequence > last]
        outputs = Engine(self.graph, {self.partition}).step(messages)
        payloads = [out.payload for out in outputs if out.subject == self.record.subject]
        return any(self._tells(payload) for payload in payloads)

    def _tells(self, payload: bytes) -> bool:
        """Whether a message has a record with the same values."""
        mine = self.record
        if mine.frame is None:
            told = [record.shown for record in records(mine.subject, payload)]
            wanted = {key: value for key, value in mine.shown.items() if key not in HISTORY}
            return any(wanted.items() <= one.items() for one in told)
        made = kinds.decode(payload).records
        same = np.ones(len(made), np.bool_)
        for name in set(made.dtype.names or ()) - HISTORY:
            wanted = mine.frame.records[name][0]
            same &= (made[name] == wanted) | ((made[name] != made[name]) & (wanted != wanted))
        return bool(same.any())


@pytest.mark.parametrize("kind", OF_MARKETS)
async def test_the_inputs_suffice_and_nothing_else_matters(markets: Played, kind: str) -> None:
    random = Random(kind)
    for _, _, record in chosen(markets, kind, 1)[1:]:
        found = await why(markets, record)
        proof = Proof(markets, record)
        named = {*positions(found["inputs"]), record.at.r}
        assert proof.holds_with(named), "the inputs do not suffice"
        everything = {message.sequence for message in markets.messages}
        for left_out in random.sample(sorted(everything - named), 8):
            assert proof.holds_with(everything - {left_out}), f"{left_out} matters, too"


@pytest.mark.parametrize("kind", OF_MARKETS)
async def test_without_one_of_its_inputs_an_event_is_another(markets: Played, kind: str) -> None:
    everything = {message.sequence for message in markets.messages}
    tried = 0
    for _, _, record in chosen(markets, kind, 3):
        found = await why(markets, record)
        proof = Proof(markets, record)
        for left_out in NECESSARY[kind](found)[:8]:
            tried += 1
            assert not proof.holds_with(everything - {left_out}), f"{left_out} does not matter"
    assert tried


def of_first(found: Mapping[str, Any]) -> list[int]:
    """The messages of the first input, the newest first: every one of them counts."""
    return [raw["r"] for raw in reversed(found["inputs"][0]["raw"])]


def of_traded(found: Mapping[str, Any]) -> list[int]:
    """The trades of a price's venues."""
    inputs = [one for one in found["inputs"] if one["role"].endswith("24 hours")]
    return [raw["r"] for one in inputs for raw in one["raw"]]


def of_snapshot(found: Mapping[str, Any]) -> list[int]:
    """The first message of a book's records: without its snapshot a book is not, or is another; of
    one level the message that set it."""
    for one in found["inputs"]:
        if one["role"].startswith("what set this level"):
            return [one["first"]["r"]]
    if found["event"]["record"].get("state", "VALID") != "VALID":
        return []
    return [raw["r"] for raw in found["inputs"][0]["raw"][:1]]


def of_legs(found: Mapping[str, Any]) -> list[int]:
    """The snapshots, or quotes, of both legs of what is not closed."""
    if found["event"]["record"]["status"] == "CLOSED":
        return []
    legs = [one for one in found["inputs"] if ", to " in one["role"] and "fees" not in one["role"]]
    return [(one["inputs"][0] if "inputs" in one else one)["raw"][0]["r"] for one in legs]


def of_values(found: Mapping[str, Any]) -> list[int]:
    """The trades of a contract's volume."""
    return [raw["r"] for raw in found["inputs"][1].get("raw", ())]


def of_set(found: Mapping[str, Any]) -> list[int]:
    """The only set that there was."""
    sets = [raw["r"] for raw in found["inputs"][0]["raw"]]
    return sets if len(sets) == 1 else []


NECESSARY: dict[str, Callable[[Mapping[str, Any]], list[int]]] = {
    "bar": of_first,
    "activity_bar": of_first,
    "resampled_bar": of_first,
    "composite_bar": of_first,
    "price": of_traded,
    "feed": of_first,
    "book_metrics": of_snapshot,
    "book_level": of_snapshot,
    "book_snapshot": of_snapshot,
    "opportunity": of_legs,
    "derivative_metrics": of_values,
    "indicator": of_set,
    "signal": of_set,
    "anomaly": of_set,
}
"""Which inputs of a kind change what is told, each by itself; of others only all together do."""


# --- over the archive, and what is refused -----------------------------------------------------


async def test_a_log_that_was_trimmed_answers_the_same(markets: Played, tmp_path: Path) -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS, markets.log.uuid)
    await append(log, [message[1:] for message in markets.messages])
    both, _ = await trimmed(log, tmp_path)
    for kind in ("bar", "opportunity"):
        record = markets.records[kind][len(markets.records[kind]) // 3][2]
        whole = await why(markets, record)
        cut = await explain(both, markets.out, [named_of(record)], EVERYTHING)
        held = str(cut).count("'held': 'archive'")
        assert held and str(cut).replace("'held': 'archive'", "'held': 'log'") == str(whole)
    fact = await explain(both, markets.out, parse("LOG:1"))
    assert (fact["event"]["held"], fact["event"]["kind"]) == ("archive", "InstrumentDefined.v2")


async def test_a_row_is_named_by_its_table_and_a_dead_letter_by_its_processor(
    markets: Played, trades: Played
) -> None:
    bar = markets.records["bar"][-1][2]
    position = ",".join(map(str, bar.at))
    for name in ("bars", "latest_bars", "bars__v1", "bar"):
        found = await explain(markets.log, markets.out, parse(f"{name}:{position}"))
        assert found["event"]["record"] == bar.shown
    told = markets.records["derivative_metrics"][0][2].at
    found = await explain(
        markets.log, markets.out, parse(f"derivatives:{told.r},{told.i},{told.n}")
    )
    assert found["event"]["kind"] == "derivative_metrics"
    trade = next(m for m in trades.messages if m.subject.startswith("md.trade."))
    fact = await explain(trades.log, trades.out, parse(f"trades:{trade.sequence},0,0"))
    assert fact["event"]["record"]["trade_id"] == kinds.decode(trade.payload).records["trade_id"][0]


async def test_a_dead_letter_is_explained_by_what_was_refused(exchanged: Source) -> None:
    facts = exchanged.facts[:4_000]
    at = next(k for k, (subject, _) in enumerate(facts) if subject.startswith("md.trade."))
    facts = [*facts[: at + 1], (facts[at][0], b"no frame at all"), *facts[at + 1 :]]
    bad = await played(facts)
    letters = [
        record
        for subject in {r.subject for _, _, r in bad.records["dead_letter"]}
        for _, _, record in bad.records["dead_letter"]
        if record.subject == subject and subject.startswith("dlq.bars.")
    ]
    first = min(letters, key=lambda letter: letter.at)
    position = ",".join(map(str, first.at))
    found = await explain(bad.log, bad.out, parse(f"bars:{position}"))
    assert (found["event"]["kind"], found["cause"]["r"]) == ("dead_letter", at + 2)
    assert "unreadable" in found["cause"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "names no event: say LOG"),
        ("bars:1,2", "three numbers"),
        ("bars:1,2,3,4", "three numbers"),
        ("LOG:1,2,3", "takes a sequence and perhaps an index"),
        ("nobody:1,0,0", "there is no table, processor or kind nobody"),
        ("trades:5,0,7", "rows of trades are facts"),
        ("book_metrics:5,0,1048576", "is of kind book_level, not book_metrics"),
        ("bars:5,0,4294967295", "names partition 255"),
        ("bars:5,0,14680064", "names kind 14 of bars"),
    ],
)
def test_what_names_no_event_is_refused_with_what_would(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)


async def test_an_event_that_the_facts_do_not_make_is_said_to_be_none(markets: Played) -> None:
    bar = markets.records["bar"][-1][2]
    for text, reason in (
        (f"bars:{bar.at.r},{bar.at.i},{bar.at.n + 900}", "make no such bar"),
        ("LOG:99999999", "LOG has no record"),
        ("trades:1,0,0", "no row of md.trade"),
        ("LOG:1,5", "is one event"),
        ("OUT:99999999", "OUT has no message"),
        (f"OUT:{markets.out.end - 1}", "is a checkpoint"),
        (f"OUT:{markets.records['bar'][0][0]},70", "none of index 70"),
    ):
        with pytest.raises(ValueError, match=reason):
            await explain(markets.log, markets.out, parse(text))


async def test_an_out_that_was_tampered_with_is_found(markets: Played) -> None:
    sequence, i, record = markets.records["bar"][-1]
    message = await markets.out.get(sequence)
    assert message is not None
    decoded = kinds.decode(message.payload)
    rows = np.array(decoded.records)
    rows["high"] += 1
    forged = out_in_memory()
    payload = frame.encode(decoded.kind, rows, *decoded[1:5])
    await forged.append([(message.subject, payload)], None)
    found = await explain(markets.log, forged, [Sent(1, i)])
    assert not found["holds"]
    assert found["event"]["record"] == record.shown
    assert [one["what"] for one in found["checks"] if not one["holds"]] == [
        "OUT holds what the facts make"
    ]
    assert any("✗" in line for line in command.tree(found))
