"""LOG as the checker sees it: whole, and then with each wrong that I1, I2, I5, I6, I12 forbid."""

from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest

from tidemill.schemas import events, frame
from tidemill.schemas.events.archive import RangeSealed
from tidemill.schemas.events.feed import RecordsGivenUp, TradeGapDeclared
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.archive import chain
from tidemill.streams.log import Message as Stored
from tidemill.tests.faults.checker.appended import Appended, Confirmed, Identity, take_all
from tidemill.tests.faults.checker.messages import Message
from tidemill.tests.faults.checker.verdicts import Verdicts

UUID = "0" * 32
WRITER = "md.*.BINANCE.*.*"
Facts = list[tuple[str, bytes]]
PP = partition("BTC/USDT")


class Server:
    """Stores messages as nats-server does, with the headers that they were published with."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.confirmed = Confirmed()
        self._batches = 0

    @property
    def last(self) -> int:
        return self.messages[-1].sequence if self.messages else 0

    def append(self, writer: str, facts: Facts, claimed: int | None = None) -> None:
        """One flush under a fence over `writer`, which holds unless `claimed` says otherwise."""
        own = [m.sequence for m in self.messages if m.subject.startswith(writer.split("*")[0])]
        at = max(own, default=0) if claimed is None else claimed
        self._batches += 1
        for place, (subject, payload) in enumerate(facts, 1):
            headers = {}
            if place == 1:
                headers["Nats-Expected-Last-Subject-Sequence"] = str(at)
                headers["Nats-Expected-Last-Subject-Sequence-Subject"] = writer
            if len(facts) > 1:
                headers |= {"Nats-Batch-Id": str(self._batches), "Nats-Batch-Sequence": str(place)}
                if place == len(facts):
                    headers["Nats-Batch-Commit"] = "1"
            self.messages.append(Message(self.last + 1, subject, payload, headers))
            self.confirmed.add(subject, sha256(payload).digest(), self.last)


def trades(sequence: int, first_id: int, count: int = 3) -> tuple[str, bytes]:
    records = KINDS["trade"].empty(count)
    records["trade_id"] = range(first_id, first_id + count)
    payload = frame.encode(KINDS["trade"], records, sequence, -8, -8)
    return subjects.md("trade", "BINANCE", "BTCUSDT", PP), payload


def time(sequence: int) -> tuple[str, bytes]:
    record = KINDS["time"].empty(1)
    record["ts"] = sequence
    return "time", frame.encode(KINDS["time"], record, sequence)


def defined(sequence: int) -> tuple[str, bytes]:
    event = InstrumentDefined(sequence=sequence, venue="BINANCE", symbol="BTCUSDT", product="SPOT",
                              base="BTC", quote="USDT")  # fmt: skip
    return subjects.md("instrument", "BINANCE", "BTCUSDT", PP), events.encode(event)


def given_up(sequence: int) -> tuple[str, bytes]:
    event = RecordsGivenUp(sequence=sequence, venue="BINANCE", product="SPOT", records=3,
                           ts_from=1, ts_to=2, reason="slow")  # fmt: skip
    return subjects.md("event", "BINANCE", "SPOT", ALL), events.encode(event)


def declared(sequence: int, first_id: int, last_id: int) -> tuple[str, bytes]:
    event = TradeGapDeclared(sequence=sequence, venue="BINANCE", symbol="BTCUSDT", ts_from=1,
                             first_id=first_id, last_id=last_id, ts_to=2, ts_recv=3,
                             reason="lost")  # fmt: skip
    return subjects.md("event", "BINANCE", "BTCUSDT", PP), events.encode(event)


def whole() -> Server:
    """A short LOG of two writers."""
    server = Server()
    server.append(WRITER, [defined(1)])
    server.append("time", [time(1)])
    for k in range(4):
        server.append(WRITER, [trades(3 * k + n, 9 * k + 3 * n) for n in (2, 3, 4)])
        server.append("time", [time(k + 2)])
    return server


def verdicts_of(
    messages: Sequence[Message],
    confirmed: Confirmed | None = None,
    last: int | None = None,
    sealed: dict[int, str] | None = None,
) -> Verdicts:
    verdicts = Verdicts()
    end = messages[-1].sequence if last is None else last
    appended = Appended(Identity(UUID, messages[0].sequence, end), verdicts, confirmed, sealed)
    take_all(appended, messages)
    return verdicts


def renumbered(messages: Sequence[Message]) -> list[Message]:
    return [message._replace(sequence=at) for at, message in enumerate(messages, 1)]


def with_sequence(fact: tuple[str, bytes], message: Message) -> Message:
    return message._replace(payload=fact[1])


def test_a_whole_log_holds() -> None:
    server = whole()
    verdicts = verdicts_of(server.messages, server.confirmed)
    assert verdicts.ok, verdicts.text()
    for name in ("I1", "I2", "I5", "I6", "I12"):
        assert verdicts.of[name].outcome == "held"
    assert verdicts_of(server.messages).of["I1"].outcome == "not applicable"


# I1


def test_i1_a_confirmed_append_that_is_not_there() -> None:
    server = whole()
    server.confirmed.add("time", sha256(b"never stored").digest(), 0)
    assert verdicts_of(server.messages, server.confirmed).broken_ones == {"I1"}


def test_i1_a_confirmed_append_that_is_elsewhere() -> None:
    server = whole()
    server.confirmed.sequences[next(iter(server.confirmed.sequences))] = [7]
    assert verdicts_of(server.messages, server.confirmed).broken_ones == {"I1"}


def test_i1_a_confirmed_append_that_is_there_twice() -> None:
    """A definition once more, under a fence that holds: its number is one that was."""
    server = whole()
    confirmed = Confirmed(dict(server.confirmed.sequences))
    again = server.messages[3]
    server.append(WRITER, [(again.subject, again.payload)])
    confirmed.sequences = {k: v[:1] for k, v in confirmed.sequences.items()}
    assert verdicts_of(server.messages, confirmed).broken_ones >= {"I1"}


# I2


def test_i2_a_hole_in_a_writers_numbers() -> None:
    server = whole()
    server.append(WRITER, [trades(99, 38)])
    verdicts = verdicts_of(server.messages)
    assert verdicts.broken_ones == {"I2"}, verdicts.text()


def test_i2_a_hole_that_is_declared_is_none() -> None:
    server = whole()
    server.append(WRITER, [given_up(99), trades(100, 40)])
    assert verdicts_of(server.messages).ok


def test_i2_a_number_again() -> None:
    server = whole()
    server.append(WRITER, [trades(13, 42)])
    verdicts = verdicts_of(server.messages)
    assert verdicts.broken_ones == {"I2"}, verdicts.text()


@pytest.mark.parametrize("others", [[], [declared(15, 42, 42)], [trades(15, 42, 1)]])
def test_i2_trades_that_are_missing(others: Facts) -> None:
    """Ids 42 and 43 are skipped; neither a declaration nor a fill has both."""
    server = whole()
    server.append(WRITER, [trades(14, 44), *others])
    verdicts = verdicts_of(server.messages)
    assert verdicts.broken_ones == {"I2"}, verdicts.text()


@pytest.mark.parametrize("others", [[declared(15, 42, 43)], [trades(15, 42, 2)]])
def test_i2_trades_that_are_declared_or_filled(others: Facts) -> None:
    server = whole()
    server.append(WRITER, [trades(14, 44), *others])
    verdicts = verdicts_of(server.messages)
    assert verdicts.ok, verdicts.text()


# I5


def first_of_a_batch(messages: Sequence[Message]) -> int:
    return next(at for at, m in enumerate(messages) if m.batch[1] == 1)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_i5_a_batch_without_one_of_its_messages(missing: int) -> None:
    """The numbers that follow, and what LOG holds, are no riddle of a batch: they break, too."""
    messages = whole().messages
    at = first_of_a_batch(messages) + missing
    verdicts = verdicts_of(renumbered(messages[:at] + messages[at + 1 :]))
    assert "I5" in verdicts.broken_ones, verdicts.text()


def test_i5_a_last_batch_that_does_not_commit() -> None:
    server = whole()
    server.append(WRITER, [trades(14, 42), trades(15, 45)])
    verdicts = verdicts_of(server.messages[:-1])
    assert verdicts.broken_ones == {"I5"}, verdicts.text()


# I6


def test_i6_a_writer_that_was_replaced() -> None:
    """It claims the position of before the other one took over."""
    server = whole()
    server.append(WRITER, [trades(14, 42)], claimed=server.messages[3].sequence)
    verdicts = verdicts_of(server.messages)
    assert verdicts.broken_ones == {"I6"}, verdicts.text()


def test_i6_a_write_without_a_fence() -> None:
    server = whole()
    message = Message(server.last + 1, *trades(14, 42))
    verdicts = verdicts_of([*server.messages, message])
    assert verdicts.broken_ones == {"I6"}, verdicts.text()


# I12


def test_i12_a_log_that_lacks_a_message() -> None:
    messages = whole().messages
    at = next(at for at, m in enumerate(messages[3:], 3) if m.subject == "time")
    verdicts = verdicts_of(messages[:at] + messages[at + 1 :])
    assert "I12" in verdicts.broken_ones, verdicts.text()


def test_i12_a_log_that_ends_too_early() -> None:
    messages = whole().messages
    verdicts = verdicts_of(messages, last=messages[-1].sequence + 5)
    assert verdicts.broken_ones == {"I12"}, verdicts.text()


def chain_of(messages: Sequence[Message]) -> str:
    """As the archive writes it."""
    stored = [Stored(m.sequence, m.subject, m.payload) for m in messages]
    return chain.extend(chain.begin(UUID), stored).hex()


def sealed(change: Callable[[RangeSealed], RangeSealed]) -> tuple[str, bytes]:
    event = RangeSealed(
        log=UUID, r0=1, r1=6, messages=6, ts=1, file="f", file_bytes=1, file_sha256="",
        chain="", previous="",
    )  # fmt: skip
    return "ctl.archive.sealed", events.encode(change(event))


def test_i12_the_archives_chain_is_logs() -> None:
    messages = whole().messages
    right = chain_of(messages[:6])
    assert verdicts_of(messages, sealed={6: right}).ok
    changed = [*messages]
    changed[4] = changed[4]._replace(payload=trades(3, 777)[1])
    assert "I12" in verdicts_of(changed, sealed={6: right}).broken_ones


def test_i12_a_seal_of_another_log() -> None:
    server = whole()
    server.append("ctl.archive.sealed", [sealed(lambda e: e)])
    assert verdicts_of(server.messages).ok
    server.append("ctl.archive.sealed", [sealed(lambda e: e.model_copy(update={"log": "1" * 32}))])
    assert verdicts_of(server.messages).broken_ones == {"I12"}
