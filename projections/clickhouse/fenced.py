"""The statements of protocol B: taking over, the fence, the fenced insert, the tail."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tidemill.projections.clickhouse.client import ClickHouse
from tidemill.projections.clickhouse.native import encode
from tidemill.projections.columns import POSITION
from tidemill.projections.rows import Rows, concatenate
from tidemill.projections.table import Table
from tidemill.schemas.errors import Fenced

ONE_BLOCK: Final[Mapping[str, Any]] = {
    "async_insert": 0,
    "wait_end_of_query": 1,
    "deduplicate_insert": "enable",
    "max_insert_threads": 1,
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 0,  # one odd time of a venue must not stop a table
}
"""One insert is one block (a part in each partition that it touches), and answered when stored."""


async def newest_epoch(clickhouse: ClickHouse, table: str) -> int:
    """Return the epoch that the fence is at, 0 before the first."""
    rows = await clickhouse.query("SELECT max(epoch) FROM fence WHERE t = {t:String}", {"t": table})
    return int(rows[0][0])


async def raise_fence(clickhouse: ClickHouse, table: str, epoch: int) -> None:
    """Let nobody with an older epoch insert. Raises Fenced when there is a newer one."""
    await clickhouse.command(
        "INSERT INTO fence SELECT {t:String}, {epoch:UInt64}",
        {"t": table, "epoch": epoch},
        {"async_insert": 0},
    )
    newest = await newest_epoch(clickhouse, table)
    if newest != epoch:
        raise Fenced(f"{table} is fenced at epoch {newest}, ours is {epoch}")


async def drain(clickhouse: ClickHouse, table: str) -> None:
    """End inserts of this table that a former sink, or a lost connection, left running."""
    await clickhouse.command(
        "KILL QUERY WHERE Settings['log_comment'] = {t:String} AND query_kind = 'Insert' SYNC",
        {"t": table},
    )


async def newest_root(clickhouse: ClickHouse, table: str) -> int:
    """Return the greatest _r in a table, 0 when it is empty."""
    rows = await clickhouse.query(f"SELECT max(_r) FROM {table}")
    return int(rows[0][0])


async def positions(clickhouse: ClickHouse, table: str, lowest: int, newest: int) -> Rows | None:
    """Return _r, _i, _n of the rows with lowest <= _r <= newest, None when there is none."""
    blocks = await clickhouse.columns(
        f"SELECT _r, _i, _n FROM {table} WHERE _r >= {{a:UInt64}} AND _r <= {{b:UInt64}}",
        POSITION,
        {"a": lowest, "b": newest},
    )
    return concatenate(blocks) if blocks else None


class FencedInsert:
    """Inserts of one table under one epoch, each as one block, refused when we are fenced."""

    def __init__(self, clickhouse: ClickHouse, table: Table, log_uuid: str, epoch: int) -> None:
        self._clickhouse, self._table = clickhouse, table
        self._log_uuid, self._epoch = log_uuid, epoch
        schema = table.input_schema.replace("\\", "\\\\").replace("'", "\\'")
        self._sql = (
            f"INSERT INTO {table.physical} SELECT * FROM input('{schema}')"
            f" WHERE throwIf((SELECT max(epoch) FROM fence WHERE t = '{table.physical}')"
            f" != {epoch}, 'FENCED') = 0 FORMAT Native\n"
        ).encode()

    def body(self, parts: Sequence[Rows]) -> memoryview:
        """Return the statement with its block, as `send` takes it."""
        return encode(self._table.columns, parts, self._sql)

    async def send(self, body: memoryview, first: int, last: int, attempt: int = 0) -> None:
        """Insert the rows of roots `first` to `last`. Raises Fenced, Unavailable (unknown)."""
        # The token only guards against a transport that sends the same request twice.
        token = f"{self._table.physical}:{self._log_uuid}:{first}-{last}:{self._epoch}:{attempt}"
        settings = {
            **ONE_BLOCK,
            "log_comment": self._table.physical,
            "insert_deduplication_token": token,
        }
        await self._clickhouse.insert(body, settings)
