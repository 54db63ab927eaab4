"""ClickHouse for readers: a bound query in, rows as dictionaries out; calls run in threads.

Exact numbers arrive as text, times as the integers that the .sql makes of them.
"""

import asyncio
import http.client
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import clickhouse_connect
import orjson
import urllib3.exceptions
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from tidemill.schemas.errors import Unavailable

Row = dict[str, Any]

_FORM: Final = {
    "output_format_json_quote_decimals": 1,
    "output_format_json_quote_64bit_integers": 0,
}
# Our own question is wrong, or asks for more than a reader may: a bug, whoever asks. All other
# codes (memory, time, starting up, a table being swapped) may pass.
_BUGS = frozenset({36, 42, 43, 46, 47, 53, 62, 63, 70, 115, 164, 386, 456, 457, 497})
_T = TypeVar("_T")


class ClickHouseReader:
    """One server, connected to on first use, with `connections_max` questions at a time."""

    def __init__(self, dsn: str, connections_max: int, waiting_max: int, timeout_s: float) -> None:
        self._options: dict[str, Any] = {
            "dsn": dsn,
            "autogenerate_session_id": False,  # a session would put questions in a row
            "compress": False,
            "query_retries": 0,
            "connect_timeout": 2,
            "send_receive_timeout": timeout_s + 1,
        }
        self._settings = _FORM | {"max_execution_time": timeout_s}
        self._threads = ThreadPoolExecutor(connections_max, "clickhouse")
        self._open = connections_max + waiting_max
        self._client: Client | None = None
        self._connecting = threading.Lock()

    async def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Return the rows of `sql`, `parameters` bound by the server. Raises Unavailable."""

        def ask(client: Client) -> list[Row]:
            payload = client.raw_query(
                sql, parameters=dict(parameters), settings=self._settings, fmt="JSONEachRow"
            )
            return [orjson.loads(line) for line in payload.splitlines()]

        return await self._call(ask)

    async def probe(self) -> None:
        """Ask whether it answers. Raises Unavailable."""
        await self._call(lambda client: client.raw_query("SELECT 1"))

    async def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def _call(self, request: Callable[[Client], _T]) -> _T:
        if self._open == 0:
            raise Unavailable("ClickHouse: too many questions wait")
        self._open -= 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._ask, request)
        finally:
            self._open += 1

    def _ask(self, request: Callable[[Client], _T]) -> _T:
        try:
            return request(self._connected())
        except DatabaseError as error:
            if error.code in _BUGS:
                raise
            raise Unavailable(f"ClickHouse: {error}") from error
        except (
            OSError,
            http.client.HTTPException,
            urllib3.exceptions.HTTPError,
            ClickHouseError,
        ) as error:
            raise Unavailable(f"ClickHouse: {error}") from error

    def _connected(self) -> Client:
        with self._connecting:
            if self._client is None:
                self._client = clickhouse_connect.get_client(**self._options)
            return self._client
