"""The engine in this process: one data directory, short-lived contexts, queries by their id.

chdb runs any number of connections side by side on one path, but gives no query ids and no
settings per query. So a query runs on a connection whose `USE` and `SET` state is exactly its
context, never used for another one, and its id is put into a setting that does nothing here but is
shown by `system.processes` (`Settings['http_response_headers']`) and found by `KILL QUERY`.
"""

import importlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from tidemill.deploy.embedded.clickhouse.refusals import (
    BAD_ARGUMENTS,
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    engine_refusal,
    refusal,
)

CONNECTIONS_IDLE_MAX = 16
CLASSIFIED_CHARACTERS_MAX = 8 << 10  # longer statements are asked about every time

# Settings that each insert brings anew: set beside its id, on a connection that may have been kept.
_EACH_TIME = ("insert_deduplication_token", "log_comment")

# Where chdb's defaults are those of a local tool, take a server's.
_LIKE_A_SERVER = (("implicit_select", "0"), ("allow_introspection_functions", "0"))

# Acknowledged means on disk (CLICKHOUSE.md, power loss): parts, their directories and what merges
# make of them are fsynced unless a table says otherwise. With merged parts fsynced,
# `old_parts_lifetime` protects nothing, so chdb's 0 stays: 480 s would only keep files.
# With many small inserts a quarter of what one costs is merging its part again and again. A merge
# is worth it for twice as many parts than by default: an eighth less for an insert of 500 rows, a
# fifth for one of 20,000; a table then has 10 parts in place of 5, which queries do not feel.
_CONFIGURATION = """<clickhouse>
    <merge_tree>
        <merge_selector_base>10</merge_selector_base>
        <fsync_after_insert>1</fsync_after_insert>
        <fsync_part_directory>1</fsync_part_directory>
        <min_rows_to_fsync_after_merge>1</min_rows_to_fsync_after_merge>
        <min_compressed_bytes_to_fsync_after_merge>1</min_compressed_bytes_to_fsync_after_merge>
    </merge_tree>
</clickhouse>
"""


class Result(Protocol):
    """What chdb returns for a query."""

    def bytes(self) -> bytes: ...
    def elapsed(self) -> float: ...
    def rows_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...


class Connection(Protocol):
    """chdb's own connection: one query at a time."""

    def query(self, query_str: str, format: str, *, params: dict[str, str]) -> Result: ...
    def classify_query(self, sql: str) -> dict[str, object]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Context:
    """What a query runs under. `set_clause`: more settings, already in SQL."""

    database: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    set_clause: str = ""
    readonly: bool = False


@dataclass(frozen=True)
class Class:
    """The engine's word on a statement: READ_ONLY, MUTATING, MUTATING_GLOBAL, CONTROL, UNKNOWN."""

    name: str
    statements: int


class Engine:
    """One data directory, open until `close`. Thread-safe."""

    def __init__(self, directory: Path, *, queries_max: int) -> None:
        """Open or create `directory`. Raises ValueError if chdb cannot be given that path."""
        data, configuration = directory / "data", directory / "config.xml"
        if set("?&%#") & set(str(directory)):
            raise ValueError(f"chdb cannot open a path with one of ?&%#: {directory}")
        configuration.write_text(_CONFIGURATION)
        self._path = str(data)
        self._queries_max = queries_max
        self._running: set[str] = set()
        self._idle: OrderedDict[Context, list[Connection]] = OrderedDict()
        self._lock = threading.Lock()
        self._classifying = threading.Lock()
        self._known = lru_cache(maxsize=512)(self._ask_class)
        # The first connection opens the engine; held until close, it keeps it open.
        self._root: Connection = _connect(f"{data}?config-file={configuration}")
        self._root.query(_set(_LIKE_A_SERVER), "Null", params={})
        self.version = self.ask("SELECT version()").strip()
        self.timezone = self.ask("SELECT timezone()").strip()

    def ask(self, sql: str, params: dict[str, str] | None = None) -> str:
        """The answer to a question of the front itself, tab separated."""
        with self._connection(Context(), keep=True) as connection:
            return _run(connection, sql, "TabSeparated", params or {}).bytes().decode()

    def classify(self, sql: str) -> Class:
        """What `sql` would do, by the engine's parser."""
        return self._known(sql) if len(sql) <= CLASSIFIED_CHARACTERS_MAX else self._ask_class(sql)

    def _ask_class(self, sql: str) -> Class:
        with self._classifying:
            found = self._root.classify_query(sql)
        count = found["statement_count"]
        assert isinstance(count, int)
        return Class(str(getattr(found["query_class"], "name", "UNKNOWN")), count)

    @contextmanager
    def running(self, query_id: str) -> Iterator[None]:
        """Hold one of the query slots under an id no other running query has."""
        with self._lock:
            if query_id in self._running:
                raise refusal(
                    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
                    f"Query with id = {query_id} is already running",
                )
            if len(self._running) >= self._queries_max:
                raise refusal(
                    TOO_MANY_SIMULTANEOUS_QUERIES,
                    f"Too many simultaneous queries. Maximum: {self._queries_max}",
                )
            self._running.add(query_id)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(query_id)

    def run(
        self,
        context: Context,
        query_id: str,
        sql: str,
        format: str,
        params: dict[str, str],
        *,
        keeps: bool,
    ) -> Result:
        """Run one statement to its end. Raises Refused with the engine's code.

        `keeps`: it leaves its connection as it found it, and its context will be seen again.
        """
        lasting, own = _parted(context)
        with self._connection(lasting, keep=keeps) as connection:
            _run(connection, _set((_mark(query_id), *own)), "Null", {})
            return _run(connection, sql, format, params)

    def engine_id(self, query_id: str) -> str | None:
        """The id the engine itself gave the running query `query_id`."""
        with self._lock:
            if query_id not in self._running:
                return None
        name, value = _mark(query_id)
        found = self.ask(
            f"SELECT query_id FROM system.processes WHERE Settings['{name}'] = {_string(value)}"
        )
        return found.split("\n", 1)[0] or None

    def kill(self, query_id: str) -> None:
        """Ask the engine to cancel one running query; do not wait for it."""
        engine_id = self.engine_id(query_id)
        if engine_id is not None:
            self.ask("KILL QUERY WHERE query_id = {id:String} ASYNC", {"id": engine_id})

    def running_count(self) -> int:
        """How many queries hold a slot."""
        with self._lock:
            return len(self._running)

    def kill_all(self) -> None:
        """Ask the engine to cancel everything that runs."""
        self.ask("KILL QUERY WHERE query_id != queryID() ASYNC")

    @contextmanager
    def _connection(self, context: Context, *, keep: bool) -> Iterator[Connection]:
        """A connection in exactly this state, kept for the next query that wants the same."""
        connection = self._take(context) or self._open(context)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if keep:
            self._keep(context, connection)
        else:
            connection.close()

    def _take(self, context: Context) -> Connection | None:
        with self._lock:
            idle = self._idle.get(context)
            if not idle:
                return None
            connection = idle.pop()
            if not idle:
                del self._idle[context]
            return connection

    def _keep(self, context: Context, connection: Connection) -> None:
        with self._lock:
            self._idle.setdefault(context, []).append(connection)
            self._idle.move_to_end(context)
            if sum(map(len, self._idle.values())) <= CONNECTIONS_IDLE_MAX:
                return
            oldest, idle = next(iter(self._idle.items()))
            surplus = idle.pop(0)
            if not idle:
                del self._idle[oldest]
        surplus.close()

    def _open(self, context: Context) -> Connection:
        connection = _connect(self._path)
        try:
            if context.database:
                _run(connection, f"USE {_identifier(context.database)}", "Null", {})
            _run(connection, _set((*_LIKE_A_SERVER, *context.settings)), "Null", {})
            if context.set_clause:
                _run(connection, f"SET {context.set_clause}", "Null", {})
            if context.readonly:
                # Last: under it, `readonly` itself can no longer be changed.
                _run(connection, "SET readonly = 2", "Null", {})
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close every idle connection and the engine with them."""
        with self._lock:
            idle = [connection for some in self._idle.values() for connection in some]
            self._idle.clear()
        for connection in (*idle, self._root):
            connection.close()


def _parted(context: Context) -> tuple[Context, tuple[tuple[str, str], ...]]:
    """A context as connections are kept for, and what is set for this statement alone.

    A connection that had such settings is only kept for statements that have them, too.
    """
    own = tuple(pair for pair in context.settings if pair[0] in _EACH_TIME)
    lasting = tuple((k, "" if k in _EACH_TIME else v) for k, v in context.settings)
    return replace(context, settings=lasting), own


def check_query_id(query_id: str) -> str:
    """`query_id` if it can be written into a setting. Raises Refused otherwise."""
    if len(query_id) > 128 or not all(c.isalnum() or c in "-_.:@/=+" for c in query_id):
        raise refusal(
            BAD_ARGUMENTS, "query_id: at most 128 letters, digits and -_.:@/=+ are supported"
        )
    return query_id


def _connect(path: str) -> Connection:
    # The wheel's Python wrapper adds progress bars and result conversions; this is what it wraps.
    connection: Connection = importlib.import_module("chdb")._chdb.connect(path)
    return connection


def _run(connection: Connection, sql: str, format: str, params: dict[str, str]) -> Result:
    try:
        return connection.query(sql, format, params=params)
    except RuntimeError as error:
        raise engine_refusal(error) from None


def _mark(query_id: str) -> tuple[str, str]:
    """The setting and value that carry a query's id."""
    return "http_response_headers", f"{{'X-ClickHouse-Query-Id':'{query_id}'}}"


def _set(settings: tuple[tuple[str, str], ...]) -> str:
    return "SET " + ", ".join(f"{_name(key)} = {_string(value)}" for key, value in settings)


def _name(key: str) -> str:
    if not (key.isascii() and key.isidentifier()):
        raise refusal(BAD_ARGUMENTS, f"Not the name of a setting: {key!r}")
    return key


def _string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _identifier(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"
