"""What was committed, seen by someone who is not killed, and held against LOG and the tables.

The witness hears `live.>`: every message that a server has acknowledged or was about to. After
each round LOG must hold exactly that at exactly those positions, go on without a hole or a
repetition in the load's trade ids, and the tables must hold each record of LOG once.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from crc32c import crc32c

from tidemill.projections.registry import TABLES
from tidemill.schemas import kinds
from tidemill.schemas.errors import Unavailable
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.live import LiveQueue
from tidemill.streams.log import Log, Message
from tidemill.tests.faults.observer import Observer

WITNESSED = ("md.>", "time", "ctl.>")
LOAD = "md.trade.LOAD."
PULL_MESSAGES, PULL_BYTES = 2_000, 8 << 20
UNIQUE = tuple(table.name for table in TABLES.values() if table.database == "clickhouse")
"""Tables of ClickHouse in which every (_r, _i, _n) is there once."""


@dataclass(frozen=True)
class Found:
    """What one look found: how much was held against what, and what is not as it must be."""

    witnessed: int
    """Messages that were seen committed, and looked up in LOG."""
    records: int
    """Trades of the load in LOG, looked up in their table."""
    lost: int
    duplicated: int
    why: tuple[str, ...] = ()


class Witness:
    """Remembers what is committed from `listening` on; `look` holds it against LOG and tables.

    `path` also gets it, a JSON line each of subject, SHA-256 and sequence, for who asks later.
    """

    def __init__(self, observer: Observer, path: Path | None = None) -> None:
        self._observer, self._path = observer, path
        self._seen: dict[int, int] = {}
        self._looked = 0
        self._ids: dict[str, int] = {}
        self._live: LiveQueue | None = None
        self._names: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Witness"]:
        """Listen until the block ends; what was before it is taken as it is."""
        log = self._observer.log
        inner: Log = getattr(log, "inner", log)
        assert isinstance(inner, JetStreamLog)
        self._live = await inner.live(WITNESSED, bytes_max=1 << 30)
        # What is in the tables already is one block, and was looked at when it was made.
        self._looked = (await log.identity()).last
        for message in await log.lasts(f"{LOAD}*.*"):
            self._ids[message.subject] = int(kinds.decode(message.payload).records["trade_id"][-1])
            self._looked = max(self._looked, message.sequence)
        listening = asyncio.create_task(self._listen(self._live))
        try:
            yield self
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            with contextlib.suppress(Unavailable):
                await self._live.close()

    async def _listen(self, live: LiveQueue) -> None:
        while True:
            messages = await live.pull(1_000, 1.0)
            for message in messages:
                self._seen[message.sequence] = crc32c(message.payload)
            if self._path is not None:
                with self._path.open("ab") as file:
                    file.writelines(map(_line, messages))

    async def look(self) -> Found:
        """Hold what came since the last look against LOG and the tables. Raises Unavailable."""
        assert self._live is not None and not self._live.dropped
        tables = await self._observer.tables()
        until = min(table.as_of for table in tables.values())
        self._names = {name: table.table for name, table in tables.items()}
        messages = await self._read(self._looked, until)
        why = self._log_is_what_was_seen(messages, until)
        lost = len(why)
        expected, ids_lost, ids_twice = self._ids_go_on(messages, why)
        rows_lost, rows_twice = await self._table_is_log(expected, until, why)
        twice = await self._each_once(until, why)
        found = Found(
            witnessed=sum(self._looked < r <= until for r in self._seen),
            records=sum(n for n, _ in expected.values()),
            lost=lost + ids_lost + rows_lost,
            duplicated=ids_twice + rows_twice + twice,
            why=tuple(why[:20]),
        )
        self._seen = {r: crc for r, crc in self._seen.items() if r > until}
        self._looked = until
        return found

    async def _read(self, after: int, until: int) -> list[Message]:
        """Read what is witnessed of LOG in (after, until]."""
        if until <= after:
            return []
        reader = await self._observer.log.read(after + 1, WITNESSED)
        found: list[Message] = []
        try:
            while await reader.complete() < until:
                found += await reader.pull(PULL_MESSAGES, PULL_BYTES, 0.5)
        finally:
            await reader.close()
        return [message for message in found if message.sequence <= until]

    def _log_is_what_was_seen(self, messages: list[Message], until: int) -> list[str]:
        there = {message.sequence: crc32c(message.payload) for message in messages}
        return [
            f"{r} was seen committed, and LOG has {'another' if r in there else 'nothing'} there"
            for r, crc in self._seen.items()
            if self._looked < r <= until and there.get(r) != crc
        ]

    def _ids_go_on(
        self, messages: list[Message], why: list[str]
    ) -> tuple[dict[str, tuple[int, int]], int, int]:
        """Follow the load's ids; return by symbol (count, sum of ids), ids lost and repeated."""
        expected: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        lost = twice = 0
        for message in messages:
            if not message.subject.startswith(LOAD):
                continue
            ids = kinds.decode(message.payload).records["trade_id"]
            symbol = message.subject.split(".")[3]
            gap = int(ids[0]) - self._ids.get(message.subject, 0) - 1
            if gap:
                why.append(f"ids of {symbol} jump by {gap} at {message.sequence}")
            lost, twice = lost + max(gap, 0), twice + max(-gap, 0)
            self._ids[message.subject] = int(ids[-1])
            expected[symbol] += len(ids)
            sums[symbol] += int(ids.sum())
        return {symbol: (expected[symbol], sums[symbol]) for symbol in expected}, lost, twice

    async def _table_is_log(
        self, expected: dict[str, tuple[int, int]], until: int, why: list[str]
    ) -> tuple[int, int]:
        """Return rows of the load's trades that lack, and that are too many."""
        rows: list[Any] = await self._observer.query(
            "SELECT symbol, count(), uniqExact(trade_id), sum(toUInt128(trade_id))"
            f" FROM {self._names['trades']} WHERE venue = 'LOAD'"
            f" AND _r > {self._looked} AND _r <= {until} GROUP BY symbol"
        )
        found = {symbol: (count, unique, total) for symbol, count, unique, total in rows}
        lost = twice = 0
        for symbol in sorted(expected.keys() | found):
            wanted, wanted_sum = expected.get(symbol, (0, 0))
            count, unique, total = found.get(symbol, (0, 0, 0))
            if (count, unique, total) == (wanted, wanted, wanted_sum):
                continue
            why.append(f"{symbol}: LOG has {wanted} trades, the table {count}, {unique} different")
            lost, twice = lost + max(wanted - unique, 0), twice + max(count - unique, 0)
            lost += wanted == unique == count  # others than LOG's
        return lost, twice

    async def _each_once(self, until: int, why: list[str]) -> int:
        """Return rows of any table that are there more than once."""
        asked = " UNION ALL ".join(
            f"SELECT '{name}', count() - uniqExact(_r, _i, _n) FROM {self._names[name]}"
            f" WHERE _r > {self._looked} AND _r <= {until}"
            for name in UNIQUE
        )
        twice = {table: int(count) for table, count in await self._observer.query(asked) if count}
        why += [f"{count} rows of {table} are there twice" for table, count in twice.items()]
        return sum(twice.values())


def _line(message: Message) -> bytes:
    line = {
        "subject": message.subject,
        "sha256": sha256(message.payload).hexdigest(),
        "sequence": message.sequence,
    }
    return orjson.dumps(line) + b"\n"
