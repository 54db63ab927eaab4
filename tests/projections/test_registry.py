"""Every table says how its past is asked, and can be asked it."""

from dataclasses import fields, replace
from typing import get_args

import pytest

from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.table import Table, TableKind


def past_of(table: Table) -> list[str]:
    """What answers for a table's past: the table itself, or the view of an append table."""
    match table.kind:
        case "append" if table.database == "clickhouse":
            return [table.declared]
        case "ledger" if table.database == "postgres" and "r_to bigint NOT NULL" in text(table):
            return [table.declared]
        case "latest":
            same = [
                other
                for other in VERSIONS
                if other.kind == "append"
                and (other.reads, other.filters) == (table.reads, table.filters)
                and other.columns == table.columns
            ]
            views = [f"{other.declared}_latest" for other in same]
            made = "".join(text(other) for other in same)
            return [v for v in views if f"VIEW IF NOT EXISTS {v} AS" in made and "as_of" in made]
    return []


def text(table: Table) -> str:
    return table.sql.read_text()


@pytest.mark.parametrize("table", VERSIONS, ids=lambda table: table.declared)
def test_every_table_has_a_kind_and_its_past_is_answered(table: Table) -> None:
    assert table.kind in get_args(TableKind)
    assert len(past_of(table)) == 1
    assert {"_r", "_i", "_n"} <= {column.name for column in table.columns}


def test_a_table_without_a_kind_or_a_past_is_refused() -> None:
    kind = next(field for field in fields(Table) if field.name == "kind")
    assert kind.default is kind.default_factory, "a kind must be given"
    latest = TABLES["latest_trades"]
    assert past_of(replace(latest, columns=latest.columns[:-1])) == []
    assert past_of(replace(TABLES["trades"], kind="ledger")) == []
