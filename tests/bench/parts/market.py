"""LOG for benchmarks: trades as dense as one can frame them, or as sparse as the captures are."""

from collections.abc import Sequence

import numpy as np

from tidemill.deploy.load import Load
from tidemill.schemas.identifiers import partition
from tidemill.schemas.kinds.trade import TRADE
from tidemill.schemas.run import Records
from tidemill.streams import subjects
from tidemill.streams.appender import Appender
from tidemill.streams.feeds import frames
from tidemill.streams.feeds.feed import Batch
from tidemill.streams.log import BATCH_MESSAGES_MAX
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

Facts = list[tuple[str, bytes]]

BURST_TRADES = 3.2
"""Trades of one frame in the captures of btcusdt of 2024-08-08 and -09: 19,904 in 6,219 frames."""
BURSTS_PER_S = 9.56
"""Such frames a second: 6,219 in 650.4 s, so 30.6 trades a second of one instrument."""
STEP_NS = 100_000_000
"""Between two `time` records."""
STATUS_NS = 500_000_000


def dense(trades: int, instruments: int, per_frame: int, rate: int) -> Facts:
    """Return frames of `per_frame` trades of each instrument in turn, `rate` a second in all."""
    load = Load(instruments, rate, per_frame)
    return [*load.opening(), *(fact for batch in load.facts(trades) for fact in batch)]


def sparse(trades: int, instruments: int, seed: int = 1) -> Facts:
    """Return trades in bursts like the captures' (Poisson arrivals, geometric sizes), framed as a
    feed frames them: on its grid of 5 ms, by instrument."""
    load = Load(instruments, 1)
    random = np.random.default_rng(seed)
    facts = load.opening()
    made = sequence = 0
    while made < trades:
        batches = []
        for which in range(instruments):
            records = _step(load, which, random)
            if len(records):
                definition = load.definitions[which]
                pp = partition(definition.pair)
                subject = subjects.md("trade", definition.venue, definition.symbol, pp)
                batches.append(Batch(subject, TRADE, records, -8, -8))
                made += len(records)
        messages = frames.cut(batches, sequence + 1) if batches else []
        sequence += len(messages)
        load.ts += STEP_NS
        facts += [*messages, load.time()]
        if load.ts % STATUS_NS == 0:
            facts.append(load.status())
    return facts


def _step(load: Load, which: int, random: np.random.Generator) -> Records:
    """Return the trades of one instrument in the next 100 ms: those of a burst at one time."""
    bursts = random.poisson(BURSTS_PER_S * STEP_NS / 1e9)
    sizes = random.geometric(1 / BURST_TRADES, bursts)
    records = load.trades(which, int(sizes.sum()), STEP_NS) if bursts else TRADE.empty(0)
    at = np.sort(random.integers(0, STEP_NS, bursts))
    records["ts_event"] = load.ts + np.repeat(at, sizes)
    records["ts_recv"] = records["ts_event"] + 1_000_000
    return records


async def in_memory(facts: Sequence[tuple[str, bytes]]) -> MemoryLog:
    """Return LOG in memory with these facts."""
    log = MemoryLog("LOG", LOG_SUBJECTS)
    appender = Appender(log, ">")
    for at in range(0, len(facts), BATCH_MESSAGES_MAX):
        await appender.append(facts[at : at + BATCH_MESSAGES_MAX])
    return log
