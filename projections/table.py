"""What a table is: a name and version, what it reads, its columns, and its SQL beside it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tidemill.projections.columns import Column
from tidemill.schemas.events import Event

_PHYSICAL = re.compile(r"([a-z][a-z_]*)__v([0-9]+)(?:_([0-9]+))?")
TableKind = Literal["append", "latest", "ledger"]


@dataclass(frozen=True)
class Table:
    """One version of a table. Rows are a pure function of the log, in the order (_r, _i, _n).

    `kind` decides time travel: `append` (``_r <= as_of``), `latest` ("now" only), `ledger` (valid
    in ``[r_from, r_to)``). `reads` is the kind of record, or the type of JSON event; `emitted_by`
    the processor that derives it, None where it is a fact of LOG. `filters` are its subjects in
    that stream. Of each `key` the row that is greatest by `newest` counts as the table's state.
    `conflated` says that only the newest message of each subject matters. `sql` is its migration.
    `period_s` is how often it is written at most, be it rows or only progress; a full block goes at
    once. An insert costs ClickHouse as much as a thousand rows, so only what must be new is quick.
    `fields` gives what a JSON event's columns are filled from, where that is not its own fields.
    `instance` counts how often this version was made: a rebuild makes the next one beside it.
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
    period_s: float = 1.0
    fields: Callable[[Any], Mapping[str, Any]] | None = None
    instance: int = 1

    @property
    def declared(self) -> str:
        """Its name in its `.sql`, ``<name>__v<version>``."""
        return f"{self.name}__v{self.version}"

    @property
    def physical(self) -> str:
        """Its name in the database: as declared, then ``..._2`` for the second instance and on."""
        return self.declared if self.instance == 1 else f"{self.declared}_{self.instance}"

    @property
    def migration(self) -> str:
        """The text of `sql`, for this instance: with its name in place of the declared one."""
        return re.sub(rf"(?<!\w){self.declared}(?!\d)", self.physical, self.sql.read_text())

    @property
    def input_schema(self) -> str:
        """Columns and types as ClickHouse's ``input()`` takes them."""
        return ", ".join(f"{column.name} {column.clickhouse}" for column in self.columns)


def named(physical: str) -> tuple[str, int, int] | None:
    """Return (name, version, instance) of a physical name, None for what is none."""
    match = _PHYSICAL.fullmatch(physical)
    return None if match is None else (match[1], int(match[2]), int(match[3] or 1))
