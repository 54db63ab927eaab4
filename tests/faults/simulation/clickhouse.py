"""ClickHouse as its sinks know it: the fence, inserts that take their time, parts, lost rows.

The statements are those of protocol B, told apart by their text. An insert checks the fence when
it begins and stores its rows, all at once, when it ends. A server that dies in between has stored
all of them, none, or some, and remembers the token of rows that it may have lost.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tidemill.projections.clickhouse import native
from tidemill.projections.columns import Column
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.table import Table
from tidemill.schemas.errors import Fenced, Unavailable
from tidemill.tests.faults.simulation.loop import SimulatedLoop
from tidemill.tests.faults.simulation.network import Server

_INSERT = re.compile(rb"INSERT INTO (\w+) SELECT \* FROM input\(.*?\)(.*?) FORMAT Native\n", re.S)
_EPOCH = re.compile(rb"!= (\d+), 'FENCED'")


@dataclass(eq=False)
class Insert:
    """An insert that has begun: it saw the fence in its place."""

    table: str
    rows: Rows
    token: str
    ended: "asyncio.Future[None]"


class Parts:
    """The server's side: what is stored of each table."""

    def __init__(
        self,
        server: Server,
        loop: SimulatedLoop,
        tables: Sequence[Table],
        random: Random,
        begun: Callable[[str], None],
    ) -> None:
        self.server = server
        self.tables = {table.physical: table for table in tables}
        self.parts: dict[str, list[Rows]] = {name: [] for name in self.tables}
        self.fences: dict[str, int] = {}
        self._loop, self._random, self._begun = loop, random, begun
        self._tokens: set[str] = set()
        self._running: list[Insert] = []

    def rows(self, name: str) -> Rows | None:
        """All rows of a table, as they were inserted."""
        parts = self.parts[name]
        return concatenate(parts) if parts else None

    def newest(self, name: str) -> int:
        return max((int(part.array("_r").max()) for part in self.parts[name]), default=0)

    def begin(self, body: bytes, token: str) -> "asyncio.Future[None]":
        """Begin an insert; the future is done when it has ended."""
        head = _INSERT.match(body)
        assert head is not None, body[:200]
        table, epoch = head[1].decode(), _EPOCH.search(head[2])
        if epoch is not None and int(epoch[1]) != self.fences.get(table, 0):
            raise Fenced("FENCED")
        (rows,) = native.decode(self.tables[table].columns, body[head.end() :])
        if token.endswith(":0"):  # what follows, no repair
            self._begun(table)
        insert = Insert(table, rows, token, self._loop.create_future())
        self._running.append(insert)
        took_s = self._random.choice((0.001, 0.004, 0.02, 0.3, 1.5))
        self._loop.call_later(took_s, self._end, insert)
        return insert.ended

    def _end(self, insert: Insert) -> None:
        if insert not in self._running or insert.ended.done():
            return
        self._running.remove(insert)
        if insert.token not in self._tokens:
            self._tokens.add(insert.token)
            self.parts[insert.table].append(insert.rows)
        insert.ended.set_result(None)

    def kill(self, table: str) -> None:
        """End what runs on a table: each insert stored whole, or not at all."""
        for insert in [one for one in self._running if one.table == table]:
            if self._random.random() < 0.5:
                self._end(insert)
            else:
                self._drop(insert)

    def _drop(self, insert: Insert) -> None:
        self._running.remove(insert)
        insert.ended.set_exception(Unavailable("killed"))
        insert.ended.exception()

    def crash(self) -> None:
        """Die in the middle of all that runs."""
        for insert in list(self._running):
            kept = self._random.choice(("all", "none", "some", "token"))
            if kept == "all":
                self._end(insert)
                continue
            self._drop(insert)
            if kept != "none":
                self._tokens.add(insert.token)
            if kept == "some":
                self._keep_some(insert.table, insert.rows)

    def lose(self) -> None:
        """Lose rows of the newest part of every table, as a disk without fsync does."""
        for name, parts in self.parts.items():
            if parts:
                self._keep_some(name, parts.pop())

    def _keep_some(self, table: str, rows: Rows) -> None:
        modulus = self._random.randint(1, 4)
        kept = rows.take(rows.array("_r") % modulus == self._random.randrange(modulus + 1))
        if kept.count:
            self.parts[table].append(kept)


class SimulatedClickHouse:
    """A sink's client; in place of tidemill.projections.clickhouse.client.ClickHouse."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._server = parts, parts.server

    async def insert(self, body: memoryview, settings: Mapping[str, Any]) -> None:
        sent, token = bytes(body), str(settings["insert_deduplication_token"])
        await self._server.call(lambda: self._parts.begin(sent, token), True)

    async def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        given, parts = dict(parameters or {}), self._parts
        if sql.startswith("INSERT INTO fence"):

            def fence() -> None:
                table, epoch = given["t"], given["epoch"]
                parts.fences[table] = max(epoch, parts.fences.get(table, 0))

            return await self._server.call(fence, True)
        assert sql.startswith("KILL QUERY"), sql
        await self._server.call(lambda: parts.kill(given["t"]))

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        if "FROM fence" in sql:
            name = dict(parameters or {})["t"]
            return await self._server.call(lambda: [(self._parts.fences.get(name, 0),)])
        asked = re.fullmatch(r"SELECT max\(_r\) FROM (\w+)", sql)
        assert asked is not None, sql
        return await self._server.call(lambda: [(self._parts.newest(asked[1]),)])

    async def columns(
        self, sql: str, columns: Sequence[Column], parameters: Mapping[str, Any] | None = None
    ) -> list[Rows]:
        asked = re.match(r"SELECT _r, _i, _n FROM (\w+) WHERE _r >=", sql)
        assert asked is not None, sql
        given = dict(parameters or {})

        def between() -> list[Rows]:
            rows = self._parts.rows(asked[1])
            if rows is None:
                return []
            roots = rows.array("_r")
            found = rows.take((roots >= given["a"]) & (roots <= given["b"]))
            return [found] if found.count else []

        return await self._server.call(between)
