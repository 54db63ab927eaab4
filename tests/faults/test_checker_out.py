"""OUT as the checker sees it: whole, and then with each wrong that is forbidden put into it.

I3, I4, I10 on what the real runtime made of a short LOG; I5, I6, I12 on transactions by hand.
"""

import json
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from crc32c import crc32c

from tidemill.schemas import frame, kinds
from tidemill.streams import subjects
from tidemill.streams.memory import MemoryLog
from tidemill.tests.faults.checker.appended import Identity
from tidemill.tests.faults.checker.batches import Batches
from tidemill.tests.faults.checker.checkpoints import (
    check_history,
    check_identity,
    fields_of,
    read_history,
)
from tidemill.tests.faults.checker.fences import Fences
from tidemill.tests.faults.checker.memory import Sample, check_memory, read_samples
from tidemill.tests.faults.checker.messages import Message
from tidemill.tests.faults.checker.verdicts import FINDINGS_MAX, Verdicts
from tidemill.tests.faults.judging import judged
from tidemill.tests.flow.logs import append, out_in_memory
from tidemill.tests.flow.sources import Facts
from tidemill.tests.flow.test_derived_markets import Markets, run

Messages = list[Message]


def poisoned(facts: Facts) -> Facts:
    """The same, with a frame and an event that nobody can read."""
    made = list(facts)
    for kind in ("md.book.A.", "md.event."):
        at = [at for at, fact in enumerate(made) if fact[0].startswith(kind)]
        if at:
            made[at[-1]] = (made[at[-1]][0], made[at[-1]][1][:-1] + b"?")
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both() -> tuple[Messages, Messages]:
    """LOG and OUT of the real runtime, in memory, by two shards."""
    log, out = MemoryLog("LOG", subjects.LOG_SUBJECTS), out_in_memory()
    await append(log, poisoned(Markets(11).make(16)))
    await run(log, out, "fused", 2, Random(3), log.end - 1)
    found = [[Message(*m) for m in one.slice(1, one.end) if m is not None] for one in (log, out)]
    return found[0], found[1]


def of(out: Messages, root: str) -> int:
    """The place of a message on a subject of `root`, in the middle of them."""
    found = [at for at, message in enumerate(out) if message.subject.startswith(f"{root}.")]
    return found[len(found) // 2]


def changed(message: Message, field: str, by: int) -> Message:
    """A frame whose first record has another value, and a checksum that is right."""
    one = kinds.decode(message.payload)
    records = one.records.copy()
    records[field][0] += by
    exponents = one.price_exponent, one.quantity_exponent
    payload = frame.encode(one.kind, records, one.sequence, *exponents)
    return message._replace(payload=payload)


def test_what_the_engine_made_holds(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    verdicts = judged(*both, tmp_path)
    assert verdicts.ok, verdicts.text()
    assert {n for n, v in verdicts.of.items() if v.outcome == "held"} == {"I3", "I4", "I10"}


# I3

FIELDS = {
    "bars": "close", "prices": "best_bid", "books": "liquidity_score", "levels": "quantity",
    "snapshots": "price", "derivatives": "open_interest", "arbitrage": "quantity",
    "activity_bars": "sequence", "resampled_bars": "high", "indicators": "value",
    "signals": "close", "anomalies": "close", "composite_bars": "high",
}  # fmt: skip


@pytest.mark.parametrize("root", FIELDS)
def test_i3_a_value_that_is_not_what_log_says(
    both: tuple[Messages, Messages], root: str, tmp_path: Path
) -> None:
    log, out = both[0], [*both[1]]
    at = of(out, root)
    out[at] = changed(out[at], FIELDS[root], 1)
    verdicts = judged(log, out, tmp_path)
    assert verdicts.broken_ones == {"I3"}, verdicts.text()
    assert verdicts.of["I3"].broken == 1
    assert FIELDS[root] in verdicts.of["I3"].findings[0].expected


def test_i3_a_feed_that_was_silent_for_another_time(
    both: tuple[Messages, Messages], tmp_path: Path
) -> None:
    log, out = both[0], [*both[1]]
    at = of(out, "feeds")
    event = json.loads(out[at].payload)
    event["silent_ns"] += 1
    out[at] = out[at]._replace(payload=json.dumps(event).encode())
    verdicts = judged(log, out, tmp_path)
    assert verdicts.broken_ones == {"I3"}, verdicts.text()


def test_i3_an_output_that_is_lost(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    log, out = both
    at = of(out, "books")
    verdicts = judged(log, out[:at] + out[at + 1 :], tmp_path)
    assert verdicts.broken_ones == {"I3"}, verdicts.text()


def test_i3_an_output_that_nothing_caused(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    log, out = both
    extra = changed(out[of(out, "bars")], "n", 1_000)
    verdicts = judged(log, [*out, extra], tmp_path)
    assert verdicts.broken_ones == {"I3"}, verdicts.text()


def test_i3_a_fact_that_is_another_one(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    """A frame of LOG, changed where it was copied, does not give what OUT has."""
    log, out = [*both[0]], both[1]
    at = of(log, "md.trade")
    log[at] = changed(log[at], "price", 10**6)
    verdicts = judged(log, out, tmp_path)
    assert verdicts.broken_ones == {"I3"}, verdicts.text()


def test_i3_what_cannot_be_read_in_out(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    log, out = both
    extra = Message(99_999, out[of(out, "bars")].subject, b"no frame")
    assert judged(log, [*out, extra], tmp_path).broken_ones == {"I3"}


# I4


@pytest.mark.parametrize("root", FIELDS)
def test_i4_an_output_twice(both: tuple[Messages, Messages], root: str, tmp_path: Path) -> None:
    log, out = both
    verdicts = judged(log, [*out, out[of(out, root)]], tmp_path)
    assert verdicts.broken_ones == {"I4"}, verdicts.text()


def test_i4_a_checkpoint_that_went_back(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    """What OUT has is beyond what the checkpoints say now."""
    log, out = both[0], [*both[1]]
    for at, message in enumerate(out):
        if message.subject.startswith("ckpt."):
            fields = json.loads(message.payload) | {"done": 20}
            out[at] = message._replace(payload=json.dumps(fields).encode())
    verdicts = judged(log, out, tmp_path)
    assert verdicts.broken_ones == {"I4"}, verdicts.text()


def checkpoint(
    sequence: int, done: int, claimed: int = 0, partition: int = 1, **more: object
) -> Message:
    fields = {
        "graph": "main", "partition": partition, "done": done, "processors": ["bars", "book"],
        "code_hash": "", "log": "u", "tail": 0, "out_from": 1, **more,
    }  # fmt: skip
    headers = {"Nats-Expected-Last-Subject-Sequence": str(claimed)}
    return Message(sequence, f"ckpt.main.{partition:02d}", json.dumps(fields).encode(), headers)


def history(*seen: Message) -> Verdicts:
    verdicts = Verdicts()
    check_history(seen, verdicts)
    return verdicts


def test_i4_checkpoints_were_seen_to_go_back() -> None:
    within = {"r": 10, "subject": "bars.x", "i": 3, "n": 1}
    going = [checkpoint(5, 7), checkpoint(9, 9, 5), checkpoint(12, 9, 9, within=within)]
    assert history(*going, checkpoint(14, 10, 12)).ok
    assert history(*going, checkpoint(14, 8, 12)).broken_ones == {"I4"}
    assert history(*going, checkpoint(14, 9, 12)).broken_ones == {"I4"}


def test_i4_what_the_recorder_writes_is_read(tmp_path: Path) -> None:
    one = checkpoint(9, 7, 5)
    line = {"sequence": 9, "subject": one.subject, "payload": one.payload.decode(), "claimed": 5}
    (tmp_path / "h").write_text(json.dumps(line) + "\n")
    (read,) = read_history(tmp_path / "h")
    assert read == one
    assert fields_of(read)["done"] == 7


# I5, I6


def transactions() -> Messages:
    """Three of one partition; the checkpoints of the first two are replaced, so they are gone."""
    made: Messages = []
    for number, (first, last) in enumerate(((1, 3), (4, 6), (7, 9)), 1):
        for place, sequence in enumerate(range(first, last + 1), 1):
            batch = {"Nats-Batch-Id": str(number), "Nats-Batch-Sequence": str(place)}
            if sequence < last:
                made.append(Message(sequence, "bars.1s.A.B.01", b"", batch))
            elif number == 3:
                one = checkpoint(sequence, 5, claimed=6)
                batch["Nats-Batch-Commit"] = "1"
                made.append(one._replace(headers={**one.headers, **batch}))
    return made


def followed(messages: Messages, last: int = 9) -> Verdicts:
    verdicts = Verdicts()
    batches = Batches("OUT", verdicts, transactional=True)
    fences = Fences("OUT", messages[0].sequence, verdicts)
    for message in messages:
        batches.take(message)
        fences.take(message)
    batches.end(last)
    return verdicts


def test_transactions_hold() -> None:
    verdicts = followed(transactions())
    assert verdicts.ok, verdicts.text()
    assert verdicts.of["I5"].checked == 3


def test_i5_half_a_batch_at_the_end() -> None:
    half = [Message(10, "bars.1s.A.B.01", b"", {"Nats-Batch-Id": "4", "Nats-Batch-Sequence": "1"})]
    verdicts = followed([*transactions(), *half], 10)
    assert verdicts.broken_ones == {"I5"}, verdicts.text()


def test_i5_a_batch_without_its_first_output() -> None:
    assert followed(transactions()[1:]).broken_ones == {"I5"}


def test_i5_a_batch_without_its_checkpoint_before_another() -> None:
    """Its outputs are followed at once by the next batch: nothing was ever between."""
    made = [m._replace(sequence=m.sequence - (m.sequence > 3)) for m in transactions()]
    made = [m._replace(headers={k: v for k, v in m.headers.items() if "Expected" not in k})
            for m in made]  # fmt: skip
    assert followed(made, 8).broken_ones == {"I5"}


def test_i5_an_output_outside_of_any_transaction() -> None:
    assert followed([*transactions(), Message(10, "bars.1s.A.B.01", b"")], 10).broken_ones == {"I5"}


def test_i6_a_checkpoint_of_an_older_owner_in_out() -> None:
    """It claims to follow the first checkpoint, though the second came between."""
    made = transactions()
    made[-1] = made[-1]._replace(
        headers={**made[-1].headers, "Nats-Expected-Last-Subject-Sequence": "3"}
    )
    assert followed(made).broken_ones == {"I6"}


def test_i6_a_checkpoint_of_an_older_owner_was_seen() -> None:
    assert history(checkpoint(5, 7), checkpoint(9, 9, 5)).ok
    stale = history(checkpoint(5, 7), checkpoint(9, 9, 5), checkpoint(12, 10, 5))
    assert stale.broken_ones == {"I6"}


# I10


def test_i10_a_dead_letter_twice(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    log, out = both
    verdicts = judged(log, [*out, out[of(out, "dlq")]], tmp_path)
    assert verdicts.broken_ones == {"I10"}, verdicts.text()


def test_i10_a_dead_letter_that_is_lost(both: tuple[Messages, Messages], tmp_path: Path) -> None:
    log, out = both
    at = of(out, "dlq")
    verdicts = judged(log, out[:at] + out[at + 1 :], tmp_path)
    assert verdicts.broken_ones == {"I10"}, verdicts.text()


def test_i10_a_dead_letter_of_what_was_well(
    both: tuple[Messages, Messages], tmp_path: Path
) -> None:
    log, out = both
    letter = out[of(out, "dlq")]
    event = json.loads(letter.payload) | {"at_r": 3}
    extra = letter._replace(payload=json.dumps(event).encode())
    assert judged(log, [*out, extra], tmp_path).broken_ones == {"I10"}


# I11


def samples(last_mb: int, count: int = 30) -> list[Sample]:
    sizes = [100 + at for at in range(count // 3)] + [120] * (count // 3) + [last_mb] * (count // 3)
    return [Sample(at, "graph", size << 20) for at, size in enumerate(sizes)]


def test_i11_memory_that_grows_is_seen_and_warming_up_is_not() -> None:
    for last_mb, broken in ((121, set()), (140, set()), (200, {"I11"})):
        verdicts = Verdicts()
        check_memory(samples(last_mb), verdicts)
        assert verdicts.broken_ones == broken
        assert verdicts.of["I11"].checked == 1


def test_i11_too_few_samples_decide_nothing(tmp_path: Path) -> None:
    line = {"ts": 1, "process": "graph", "rss": 5}
    (tmp_path / "s").write_text(json.dumps(line) + "\n")
    verdicts = Verdicts()
    check_memory(read_samples(tmp_path / "s"), verdicts)
    assert verdicts.of["I11"].outcome == "not applicable"
    assert verdicts.of["I11"].partial


# I12


TAILS = {5: b"the message there"}
RIGHT: dict[str, object] = {"log": "u", "tail": crc32c(TAILS[5]), "done": 5}


def identity_of(fields: dict[str, object]) -> Verdicts:
    verdicts, one = Verdicts(), checkpoint(9, 5)
    payload = json.dumps(json.loads(one.payload) | RIGHT | fields).encode()
    check_identity([one._replace(payload=payload)], Identity("u", 1, 8), TAILS, verdicts)
    return verdicts


def test_i12_a_checkpoint_of_this_log_holds() -> None:
    verdicts = identity_of({})
    assert verdicts.ok, verdicts.text()
    assert verdicts.of["I12"].checked == 1


@pytest.mark.parametrize(
    "wrong", [{"log": "another"}, {"tail": 1}, {"done": 9}, {"graph": "x"}, {"partition": 7}]
)
def test_i12_a_checkpoint_of_another_log_is_seen(wrong: dict[str, object]) -> None:
    assert identity_of(wrong).broken_ones == {"I12"}


# I13 and all


def test_i13_is_not_applicable_and_verdicts_say_what_was_found() -> None:
    verdicts = Verdicts()
    assert verdicts.of["I13"].outcome == "not applicable"
    for at in range(FINDINGS_MAX + 3):
        verdicts.broken("I7", f"trades (1, {at}, 0)", "a row", "none")
    assert not verdicts.ok
    assert len(verdicts.of["I7"].findings) == FINDINGS_MAX
    assert "8 counterexamples" in verdicts.text()
    assert verdicts.as_json()["invariants"]["I7"]["outcome"] == "broken"
