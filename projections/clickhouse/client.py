"""ClickHouse over HTTP by clickhouse-connect, with this project's errors; calls run in threads."""

import asyncio
import http.client
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import clickhouse_connect
import urllib3.exceptions
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from tidemill.projections.clickhouse import native
from tidemill.projections.columns import Column
from tidemill.projections.rows import Rows
from tidemill.schemas.errors import Fenced, Unavailable

FENCED = "FENCED"
"""What the fence inside an insert throws."""
TIMEOUT_S = 60.0

# A query that is wrong, or not allowed, is wrong however often it is sent: a bug, let it crash.
# Every other error (memory, disk, too many parts, killed, starting up) may pass.
_BUGS = frozenset(
    {
        *(6, 16, 20, 27, 33, 36, 42, 43, 44, 46, 47, 53, 57, 60, 62, 63, 70, 73, 80, 81, 115),
        *(117, 164, 349, 386, 456, 457, 497, 516),
    }
)
_FENCED_CODE = 395  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
_T = TypeVar("_T")


class ClickHouse:
    """One server, connected to on first use. `dsn` is ``http://user:password@host:port/database``."""

    def __init__(self, dsn: str, timeout_s: float = TIMEOUT_S) -> None:
        self._options: dict[str, Any] = {
            "dsn": dsn,
            "autogenerate_session_id": False,  # sessions would serialise what runs beside
            "compress": False,
            "query_retries": 0,
            "connect_timeout": 5,
            "send_receive_timeout": timeout_s,
        }
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def insert(self, body: memoryview, settings: Mapping[str, Any]) -> None:
        """Send an INSERT: its text and its data in one. Raises Fenced, Unavailable (unknown).

        By `raw_insert`, since `command` would read the data as text (it looks for SQL in it), and
        as a view, since bytes would be sent again by the client itself after a lost connection: a
        server that was killed may remember the token of rows that it has lost.
        """
        await self._call(
            lambda client: client.raw_insert(
                table="",  # it is named in the text
                insert_block=body,  # type: ignore[arg-type] # any buffer is sent
                settings=dict(settings),
            )
        )

    async def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a statement that returns nothing of interest."""
        await self._call(
            lambda client: client.command(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {})
            )
        )

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the rows of a small result, tuples."""
        result = await self._call(
            lambda client: client.query(sql, parameters=dict(parameters or {}))
        )
        return list(result.result_rows)

    async def columns(
        self, sql: str, columns: Sequence[Column], parameters: Mapping[str, Any] | None = None
    ) -> list[Rows]:
        """Return a result as blocks of columns; `sql` selects exactly `columns`, in order."""
        payload: bytes = await self._call(
            lambda client: client.raw_query(sql, parameters=dict(parameters or {}), fmt="Native")
        )
        return native.decode(columns, payload)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
            self._client = None

    async def _call(self, request: Callable[[Client], _T]) -> _T:
        try:
            client = await self._connected()
            return await asyncio.to_thread(request, client)
        except DatabaseError as error:
            raise _sorted(error) from error
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable(f"ClickHouse: {error}") from error
        except ClickHouseError as error:
            if isinstance(error, OperationalError) or "stream" in str(error).lower():
                raise Unavailable(f"ClickHouse: {error}") from error
            raise

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(
                    lambda: clickhouse_connect.get_client(**self._options)
                )
            return self._client


def _sorted(error: DatabaseError) -> Exception:
    """Return what a server's error means to the caller."""
    if isinstance(error, OperationalError):
        return Unavailable(f"ClickHouse: {error}")
    if error.code == _FENCED_CODE and FENCED in str(error):
        return Fenced(f"ClickHouse: {error}")
    return error if error.code in _BUGS else Unavailable(f"ClickHouse: {error}")
