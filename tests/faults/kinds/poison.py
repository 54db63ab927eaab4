"""Poison in LOG, by a foreign writer on proper subjects: dead letters once each, by policy.

Every round defines an instrument of its own. Who parks a key says of every later frame of it that
it is parked, until a `ctl.skip` fact; everybody else, and every other key, goes on.
"""

import struct
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from crc32c import crc32c

from tidemill.deploy.graphs import graphs
from tidemill.schemas import events, frame
from tidemill.schemas.events.control import DeadLetterSkipped
from tidemill.schemas.events.dead_letter import DeadLetter
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds.quote import QUOTE
from tidemill.schemas.kinds.status import STATUS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import subjects
from tidemill.streams.appender import Appender
from tidemill.streams.writer import sequence_of
from tidemill.tests.faults.stage import Stage, Struck

VENUE = "FOREIGN"
PULL_BYTES = 4 << 20
_CRC_AT = 8 + 12
_HEADER_BYTES = struct.calcsize("<HHHHQbbHIHH")


def _resealed(message: bytearray) -> bytes:
    """Return a frame with the crc that its bytes ask for."""
    message[_CRC_AT : _CRC_AT + 4] = bytes(4)
    struct.pack_into("<I", message, _CRC_AT, crc32c(message))
    return bytes(message)


def _undecodable(good: bytes, random: Random) -> bytes:
    return random.randbytes(random.randint(1, 400))


def _wrong_crc(good: bytes, random: Random) -> bytes:
    message = bytearray(good)
    message[random.randrange(_HEADER_BYTES, len(message))] ^= 1 << random.randrange(8)
    return bytes(message)


def _truncated(good: bytes, random: Random) -> bytes:
    return good[: random.randrange(len(good))]


def _unknown_schema(good: bytes, random: Random) -> bytes:
    message = bytearray(good)
    struct.pack_into("<H", message, 4, 1)
    return _resealed(message)


def _unknown_template(good: bytes, random: Random) -> bytes:
    message = bytearray(good)
    struct.pack_into("<H", message, 2, 60_000)
    return _resealed(message)


def _oversized(good: bytes, random: Random) -> bytes:
    return good + bytes(frame.FRAME_BYTES_MAX)


def _other_kind(good: bytes, random: Random) -> bytes:
    (sequence,) = struct.unpack_from("<Q", good, 8)
    return frame.encode(QUOTE, QUOTE.empty(1), sequence, -8, -8)


def _json(good: bytes, random: Random) -> bytes:
    return b'{"type":"md.unheard_of","v":7,"price":NaN}'


POISONS: dict[str, Callable[[bytes, Random], bytes]] = {
    "bytes that are no frame": _undecodable,
    "a wrong crc": _wrong_crc,
    "a frame cut short": _truncated,
    "an unknown schema": _unknown_schema,
    "an unknown template": _unknown_template,
    "an oversized frame": _oversized,
    "a frame of another kind": _other_kind,
    "JSON of no known event": _json,
}


def newer(good: bytes) -> bytes:
    """Return a frame as a later version would write it: each block has a field more."""
    block, count = struct.unpack_from("<HH", good, _HEADER_BYTES - 4)
    message = bytearray(good[:_HEADER_BYTES])
    struct.pack_into("<H", message, 6, 99)
    struct.pack_into("<H", message, _HEADER_BYTES - 4, block + 8)
    for k in range(count):
        start = _HEADER_BYTES + k * block
        message += good[start : start + block] + b"\xff" * 8
    return _resealed(message)


@cache
def readers() -> dict[str, str]:
    """Return the processors that a trade concerns, and what they do about one they cannot take."""
    return {p.name: p.poison for p in graphs("fused")["main"].processors if "trade" in p.reads}


async def appended(stage: Stage, random: Random) -> Struck:
    """Append good frames and a poisoned one, see its dead letters and the rest flow, and skip."""
    kind = random.choice(sorted(POISONS))
    writer = Foreign(stage, f"F{random.randrange(10**9)}")
    await writer.open()
    start = (await stage.observer.log.identity()).last
    first = await writer.trades(5)
    poisoned = await writer.message(POISONS[kind](writer.frame(3), random))
    ts = time.time_ns()
    later = [await writer.trades(4), await writer.message(newer(writer.frame(6)))]
    flowed = await stage.flows()
    expected = Counter((name, poisoned) for name in readers())
    parking = [name for name, policy in readers().items() if policy == "park"]
    expected.update((name, r) for name in parking for r in later)
    found = await _letters(stage, writer.partition, start)
    assert found == expected, (kind, first, poisoned, later, found, expected)
    for name in parking:
        await _skip(stage, name, poisoned)
    later.append(await writer.trades(2))
    await stage.flows()
    assert await _letters(stage, writer.partition, start) == expected
    table = (await stage.observer.tables())["trades"].table
    sql = f"SELECT _r, count() FROM {table} WHERE symbol = '{writer.symbol}' GROUP BY _r"
    rows = {int(r): int(count) for r, count in await stage.observer.query(sql)}
    assert rows == dict(zip((first, *later), (5, 4, 6, 2), strict=True)), (kind, rows)
    told = f"{sum(expected.values())} dead letters, each once; {', '.join(parking)} parked it"
    return Struck(f"{kind}, {VENUE} {writer.symbol}", told, ts, flowed)


class Foreign:
    """Appends trades of one instrument that nobody else knows of."""

    def __init__(self, stage: Stage, base: str) -> None:
        self.symbol = f"{base}USDT"
        self.partition = partition(f"{base}/USDT")
        self._definition = InstrumentDefined(
            venue=VENUE, symbol=self.symbol, product="SPOT", base=base, quote="USDT"
        )
        self._appender = Appender(stage.observer.log, f"md.*.{VENUE}.*.*")
        self._id = 0
        self._sequence = 0

    async def open(self) -> None:
        """Define the instrument, and say that its feed is there."""
        newest = await self._appender.own()
        self._sequence = sequence_of(newest.payload) if newest is not None else 0
        status = STATUS.empty(1)
        status["venue_time"] = status["ts_recv"] = time.time_ns()
        defined = subjects.md("instrument", VENUE, self.symbol, self.partition)
        feed = subjects.md("status", VENUE, "SPOT", ALL)
        definition = self._definition.model_copy(update={"sequence": self._numbered()})
        facts = [(defined, events.encode(definition))]
        there = frame.encode(STATUS, status, self._numbered())
        await self._appender.append([*facts, (feed, there)])

    def frame(self, count: int) -> bytes:
        """Return a frame of the next `count` trades."""
        records = TRADE.empty(count)
        records["ts_event"] = records["ts_recv"] = time.time_ns()
        records["trade_id"] = np.arange(self._id + 1, self._id + count + 1)
        records["price"], records["quantity"], records["aggressor_side"] = 10**10, 10**8, 1
        self._id += count
        return frame.encode(TRADE, records, self._numbered(), -8, -8)

    async def trades(self, count: int) -> int:
        """Append good trades in one frame; return its position."""
        return await self.message(self.frame(count))

    async def message(self, payload: bytes) -> int:
        """Append a message on the subject of the instrument's trades; return its position."""
        subject = subjects.md("trade", VENUE, self.symbol, self.partition)
        return await self._appender.append([(subject, payload)])

    def _numbered(self) -> int:
        self._sequence += 1
        return self._sequence


async def _skip(stage: Stage, processor: str, r: int) -> None:
    """Append the fact that a dead letter is let go, as `tidemill dlq drop` does."""
    appender = Appender(stage.observer.log, f"ctl.skip.{processor}")
    await appender.own()
    event = DeadLetterSkipped(processor=processor, r=r, reason="a fault campaign put it there")
    await appender.append([(appender.subject, events.encode(event))])


async def _letters(stage: Stage, pp: int, after: int) -> Counter[tuple[str, int]]:
    """Count the dead letters of a partition of facts after `after`, by processor and position."""
    found: Counter[tuple[str, int]] = Counter()
    for message in await stage.observer.derived(f"dlq.*.{pp:02d}"):
        letter = events.decode(message.payload)
        assert isinstance(letter, DeadLetter)
        if letter.at_r > after:
            found[letter.processor, letter.at_r] += 1
    return found
