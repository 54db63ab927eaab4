"""A LOG with facts of all sorts, seeded, and archives of it, for tests."""

import random
from collections.abc import Sequence

from tidemill.schemas import frame
from tidemill.schemas.kinds.time import TIME
from tidemill.streams.log import Log, Message
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
T0_NS = 1_760_054_399_000_000_000
SECOND_NS = 1_000_000_000


def log() -> MemoryLog:
    """An empty LOG in memory."""
    return MemoryLog("LOG", LOG_SUBJECTS)


def facts(count: int, seed: int = 1, start: int = 0) -> list[tuple[str, bytes]]:
    """`count` messages: some of each instrument, now and then `time`, seldom a command."""
    chance = random.Random(seed)
    made = []
    for at in range(start, start + count):
        if at % 10 == 0:
            made.append(time(at))
        elif at % 97 == 3:
            made.append((f"cmd.account{at % 4}.place", b"%d" % at))
        else:
            kind, symbol = chance.choice(("trade", "quote")), chance.choice(SYMBOLS)
            made.append((f"md.{kind}.BINANCE.{symbol}.07", chance.randbytes(chance.randint(0, 99))))
    return made


def time(at: int) -> tuple[str, bytes]:
    """The time, a tenth of a second later for each `at`."""
    record = TIME.empty(1)
    record["ts"] = T0_NS + at * SECOND_NS // 10
    return "time", frame.encode(TIME, record, at)


async def filled(count: int, seed: int = 1) -> MemoryLog:
    """A LOG in memory with `count` facts."""
    made = log()
    await append(made, facts(count, seed))
    return made


async def append(target: Log, messages: Sequence[tuple[str, bytes]]) -> None:
    """Append however many."""
    for at in range(0, len(messages), 500):
        await target.append(messages[at : at + 500], None)


async def everything(source: Log, start: int = 1, filters: Sequence[str] = (">",)) -> list[Message]:
    """All that a log has from `start` on."""
    reader = await source.read(start, filters)
    found: list[Message] = []
    end = (await source.identity()).last
    while await reader.complete() < end:
        found += await reader.pull(97, 5_000, 0.05)
    await reader.close()
    return found
