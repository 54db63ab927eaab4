"""I6, I7, I8, I9, I12 of what Postgres knows of the tables: positions, epochs, what answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.tests.faults.checker.appended import Identity
from tidemill.tests.faults.checker.verdicts import Verdicts


@dataclass(frozen=True)
class Book:
    """Postgres's own books: `sinks` and `physical` by physical table, `active` by name.

    `fences` are ClickHouse's epochs by physical table.
    """

    sinks: Mapping[str, Mapping[str, Any]]
    physical: Mapping[str, Mapping[str, Any]]
    active: Mapping[str, str]
    fences: Mapping[str, int]

    def position(self, table: str) -> int:
        """Up to which root a table is complete, 0 where nobody fills it."""
        return int(self.sinks[table]["position"]) if table in self.sinks else 0


def check_sinks(book: Book, identity: Identity, verdicts: Verdicts) -> None:
    """Each is of this LOG, not ahead of it, and no older owner holds a fence."""
    for table, sink in book.sinks.items():
        where = f"sink of {table}"
        verdicts.held("I12")
        if sink["log_uuid"] != identity.uuid:
            verdicts.broken("I12", where, f"log {identity.uuid}", f"log {sink['log_uuid']}")
        elif sink["position"] > identity.last:
            verdicts.broken("I12", where, f"at most {identity.last}", sink["position"])
        fence = book.fences.get(table)
        if fence is not None:
            verdicts.held("I6")
            if fence > sink["epoch"]:
                verdicts.broken("I6", where, f"a fence of at most {sink['epoch']}", fence)
    for name, table in book.active.items():
        verdicts.held("I9")
        state = book.physical.get(table, {"state": "unknown", "name": ""})
        if state["state"] != "serving" or state["name"] != name:
            verdicts.broken(
                "I9", f"{name} is answered by {table}", "a serving version", dict(state)
            )
    for table, row in book.physical.items():
        if row["state"] == "serving" and row["name"] not in book.active:
            verdicts.broken("I9", table, f"{row['name']} to be answered", "nothing answers it")
