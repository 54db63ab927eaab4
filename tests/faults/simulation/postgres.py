"""Postgres as its sinks know it: rows of `sink`, latest tables, transactions that hold a lock."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tidemill.projections.postgres.sql import statement
from tidemill.projections.table import Table
from tidemill.schemas.errors import Unavailable
from tidemill.tests.faults.simulation.loop import ACTOR, Actor, SimulatedLoop
from tidemill.tests.faults.simulation.network import Server

Record = dict[str, Any]
CLOSED_S = 3.0
"""How long a server may take to notice that a client is gone; a late COMMIT comes before that."""


class Database:
    """The server's side. A row of `sink` is locked by the transaction that has updated it."""

    def __init__(
        self,
        server: Server,
        loop: SimulatedLoop,
        tables: Sequence[Table],
        moved: Callable[[str, int], None],
    ) -> None:
        self.server, self.tables = server, {table.physical: table for table in tables}
        self.sink: dict[str, Record] = {}
        self.rows: dict[str, dict[tuple[Any, ...], Record]] = {name: {} for name in self.tables}
        self._loop, self._moved = loop, moved
        self._locks: dict[str, Transaction] = {}
        self._queues: dict[str, deque[tuple[Callable[[], Any], asyncio.Future[Any]]]] = {}
        self.open: list[Transaction] = []

    def locked(self, table: str, by: "Transaction | None", work: Callable[[], Any]) -> Any:
        """Do `work` on a row once nobody else holds it."""
        if self._locks.get(table, by) is not by:
            waiting: asyncio.Future[Any] = self._loop.create_future()
            self._queues.setdefault(table, deque()).append((work, waiting))
            return waiting
        return work()

    def hold(self, table: str, by: "Transaction") -> None:
        self._locks[table] = by

    def release(self, by: "Transaction") -> None:
        """End a transaction's locks, and let those go on who waited for them."""
        if by in self.open:
            self.open.remove(by)
        for table in [name for name, holder in self._locks.items() if holder is by]:
            del self._locks[table]
            queue = self._queues.get(table, deque())
            while queue and table not in self._locks:
                work, waiting = queue.popleft()
                if not waiting.done():
                    waiting.set_result(work())

    def claim(
        self, t: str, log_uuid: str, roots: int, rows: int, mine: int | None, known: int
    ) -> Record | None:
        """See claim.sql."""
        row = self.sink.get(t)
        if row is None:
            row = dict(t=t, log_uuid=log_uuid, epoch=known + 1, position=0, floor=0, mark_root=0)
            row |= dict(mark_sequence=1, roots_max=roots, rows_max=rows)
        elif row["log_uuid"] != log_uuid or (mine is not None and row["epoch"] != mine):
            return None
        else:
            row = row | dict(
                epoch=max(row["epoch"], known) + 1,
                roots_max=max(row["roots_max"], roots),
                rows_max=max(row["rows_max"], rows),
            )
        self.sink[t] = row
        return dict(row)

    def advance(self, t: str, epoch: int, *to: int) -> str | None:
        """See advance.sql."""
        row = self.sink.get(t)
        if row is None or row["epoch"] != epoch:
            return None
        names = ("position", "floor", "mark_root", "mark_sequence")
        self.sink[t] = row | dict(zip(names, to, strict=True))
        self._moved(t, to[0])
        return t

    def crash(self) -> None:
        """Die: what was not committed is gone, and everybody's connection."""
        for transaction in list(self.open):
            transaction.lost = True
            self.release(transaction)

    def gone(self, actor: Actor) -> None:
        """A client has died: its connections end."""
        for transaction in [one for one in self.open if one.owner is actor]:
            transaction.lost = True
            self.release(transaction)

    def abandon(self, one: "Transaction") -> None:
        """Roll back what a closed connection has left open, once that is noticed."""

        def notice() -> None:
            one.lost = not one.ended
            self.release(one)

        self._loop.call_later(CLOSED_S, notice)

    def upsert(self, table: Table, records: Sequence[Record]) -> None:
        """See _replace_latest in write.py: the newest of each key stays."""
        held = self.rows[table.physical]
        for record in records:
            key = tuple(record[name] for name in table.key)
            old = held.get(key)
            order = [record[name] for name in table.newest]
            if old is None or order >= [old[name] for name in table.newest]:
                held[key] = record


class Transaction:
    """What one transaction has done so far, to take effect all at once."""

    def __init__(self, owner: Actor) -> None:
        self.owner, self.lost = owner, False
        self.ended = False
        self.works: list[Callable[[], Any]] = []


class SimulatedConnection:
    """A connection; in place of asyncpg's."""

    def __init__(self, database: Database) -> None:
        self._database, self._server = database, database.server
        self._staged: list[Record] = []
        self._transaction: Transaction | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        one = self._transaction = Transaction(ACTOR.get())
        self._database.open.append(one)
        try:
            yield
        except (Exception, asyncio.CancelledError):
            await self._end(one, False)
            raise
        await self._end(one, True)

    async def _end(self, one: Transaction, keep: bool) -> None:
        """COMMIT or ROLLBACK."""
        self._transaction = None

        def end() -> bool:
            if one.lost or one.ended:
                raise Unavailable("the connection was lost")
            one.ended = True
            for work in one.works if keep else ():
                work()
            self._database.release(one)
            return True

        try:
            await self._server.call(end, keep)
        except Unavailable:
            # The connection is closed; when the server notices, it rolls back what did not end.
            self._database.abandon(one)
            if keep:
                raise

    async def fetchval(self, sql: str, *given: Any) -> Any:
        assert sql == statement("advance_from"), sql
        one, database = self._transaction, self._database
        assert one is not None
        t, epoch, previous, *to = given

        def move() -> str | None:
            if one.lost or one.ended:
                raise Unavailable("the connection was lost")
            row = database.sink.get(t)
            if row is None or row["epoch"] != epoch or row["position"] != previous:
                return None
            database.hold(t, one)
            one.works.append(lambda: database.advance(t, epoch, *to))
            return str(t)

        return await self._server.call(lambda: database.locked(t, one, move))

    async def copy_records_to_table(
        self, name: str, *, records: Sequence[tuple[Any, ...]], columns: Sequence[str]
    ) -> None:
        made = [dict(zip(columns, record, strict=True)) for record in records]
        await self._server.call(lambda: None)
        self._staged = made

    async def execute(self, sql: str) -> None:
        if sql.startswith("CREATE TEMP TABLE"):
            return await self._server.call(lambda: None)
        assert sql.startswith("INSERT INTO "), sql
        table = self._database.tables[sql.split()[2]]
        staged, self._staged, one = self._staged, [], self._transaction
        assert one is not None
        await self._server.call(
            lambda: one.works.append(lambda: self._database.upsert(table, staged))
        )


class SimulatedPool:
    """A pool; in place of asyncpg's."""

    def __init__(self, database: Database) -> None:
        self._database, self._server = database, database.server

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[SimulatedConnection]:
        await self._server.call(lambda: None)
        yield SimulatedConnection(self._database)

    async def fetchrow(self, sql: str, *given: Any) -> Record | None:
        assert sql == statement("claim"), sql
        database = self._database
        return await self._server.call(
            lambda: database.locked(given[0], None, lambda: database.claim(*given)), True
        )

    async def fetchval(self, sql: str, *given: Any) -> Any:
        database = self._database
        if sql == statement("advance"):
            return await self._server.call(
                lambda: database.locked(given[0], None, lambda: database.advance(*given)), True
            )
        assert sql == "SELECT log_uuid FROM sink WHERE t = $1", sql
        return await self._server.call(lambda: (database.sink.get(given[0]) or {}).get("log_uuid"))
