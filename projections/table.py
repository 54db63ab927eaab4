"""What a table is: a name and version, what it reads, its columns, and its SQL beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidemill.projections.columns import Column
from tidemill.schemas.events import Event

TableKind = Literal["append", "latest", "ledger"]


@dataclass(frozen=True)
class Table:
    """One version of a table. Rows are a pure function of the log, in the order (_r, _i, _n).

    `kind` decides time travel: `append` (``_r <= as_of``), `latest` ("now" only), `ledger` (valid
    in ``[r_from, r_to)``). `reads` is the kind of record, or the type of JSON event; `emitted_by`
    the processor that derives it, None where it is a fact of LOG. `filters` are its subjects in
    that stream. Of each `key` the row that is greatest by `newest` counts as the table's state.
    `conflated` says that only the newest message of each subject matters. `sql` is its migration.
    """

    name: str
    version: int
    kind: TableKind
    database: Literal["clickhouse", "postgres"]
    reads: str | type[Event]
    filters: tuple[str, ...]
    columns: tuple[Column, ...]
    sql: Path
    emitted_by: str | None = None
    scope: Literal["pair", "global"] = "pair"
    key: tuple[str, ...] = ("symbol", "venue")
    newest: tuple[str, ...] = ("_r", "_i", "_n")
    conflated: bool = False

    @property
    def physical(self) -> str:
        """Its name in the database, ``<name>__v<version>``."""
        return f"{self.name}__v{self.version}"

    @property
    def input_schema(self) -> str:
        """Columns and types as ClickHouse's ``input()`` takes them."""
        return ", ".join(f"{column.name} {column.clickhouse}" for column in self.columns)
