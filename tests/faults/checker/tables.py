"""I7: rows of ClickHouse against rows of LOG and OUT, range by range; then its views."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tidemill.tests.faults.checker.rows import TABLES, Column, dtype_of, in_order
from tidemill.tests.faults.checker.sbe import Records
from tidemill.tests.faults.checker.verdicts import Verdicts

_PHYSICAL = re.compile(r"([a-z][a-z_]*)__v[0-9]+(_[0-9]+)?")
POSITION = ["_r", "_i", "_n"]
ROWS_AT_ONCE = 500_000
VIEW_KEYS = {"trades": (), "quotes": (), "prices": (), "bars": ("interval_s", "ts_open")}
"""Tables with a view of their latest rows, and its keys besides the names."""


class Physical(NamedTuple):
    """One physical table: its name, what it is a version of, and its columns."""

    name: str
    of: str
    columns: list[Column]
    width: int

    @property
    def kind(self) -> str:
        """The kind of record that it has a row for."""
        return TABLES[self.of]


class ClickHouse:
    """Asks ClickHouse by plain SQL."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def rows(self, sql: str) -> list[Any]:
        """Rows as tuples."""
        return list(self._client.query(sql).result_rows)

    def tables(self) -> list[Physical]:
        """Every physical table that is known."""
        found: dict[str, list[Column]] = {}
        for table, name, type_ in self.rows(
            "SELECT table, name, type FROM system.columns WHERE database = 'default'"
            " ORDER BY table, position"
        ):
            match = _PHYSICAL.fullmatch(table)
            if match is not None and match[1] in TABLES:
                found.setdefault(table, []).append(Column(name, type_))
        return [Physical(t, t.partition("__")[0], c, self._width(t, c)) for t, c in found.items()]

    def _width(self, table: str, columns: list[Column]) -> int:
        """The widest text of a table."""
        texts = [f"max(length(toString(`{c.name}`)))" for c in columns if c.is_text]
        if not texts:
            return 1
        (row,) = self.rows(f"SELECT {', '.join(texts)} FROM {table}")
        return max(1, *(int(value or 0) for value in row)) if len(row) > 1 else max(1, int(row[0]))

    def read(self, physical: Physical, source: str, columns: list[Column], where: str) -> Records:
        """Rows (N,) of a table or view, by position."""
        asked = ", ".join(column.sql(physical.width) for column in columns)
        data = self._client.raw_query(
            f"SELECT {asked} FROM {source} WHERE {where} ORDER BY _r, _i, _n", fmt="RowBinary"
        )
        return np.frombuffer(data, dtype_of(columns, physical.width))


def compare_rows(
    name: str, expected: Records, found: Records, position: int, verdicts: Verdicts
) -> None:
    """Judge rows of a range: all up to `position` must be there, of later ones any may be."""
    verdicts.held("I7", len(expected))
    keys = found[POSITION]
    if len(found) and len(np.unique(keys)) != len(found):
        twice = keys[1:][keys[1:] == keys[:-1]]
        verdicts.broken("I7", f"{name} {twice[0]}", "one row", "the same position again")
        found = found[np.concatenate([[True], keys[1:] != keys[:-1]])]
    there, wanted = found[POSITION], expected[POSITION]
    known = np.isin(_bytes(there), _bytes(wanted))
    for at in there[~known][:3]:
        verdicts.broken("I7", f"{name} {at}", "no row", "a row")
    absent = ~np.isin(_bytes(wanted), _bytes(there))
    for at in wanted[absent & (expected["_r"] <= position)][:3]:
        verdicts.broken("I7", f"{name} {at}", "a row", f"none, though its position is {position}")
    _compare_values(name, expected[~absent], found[known], verdicts)


def _bytes(rows: Records) -> Any:
    return (
        np.ascontiguousarray(rows).astype([("_r", "<u8"), ("_i", "<u4"), ("_n", "<u4")]).view("V16")
    )


def _compare_values(name: str, expected: Records, found: Records, verdicts: Verdicts) -> None:
    for field in expected.dtype.names or ():
        mine, theirs = expected[field], found[field]
        # What is not known, NaN, is equal to itself here.
        unequal = np.flatnonzero((mine != theirs) & ((mine == mine) | (theirs == theirs)))
        if len(unequal):
            at = unequal[0]
            where = f"{name} {expected[POSITION][at]} {field} ({len(unequal)} rows)"
            verdicts.broken("I7", where, expected[field][at], found[field][at])


def latest(rows: Records, keys: Iterable[str]) -> Records:
    """Of rows in order of position the last of each key, by position."""
    newest: dict[Any, int] = {}
    columns = [rows[key].tolist() for key in keys]
    for at, key in enumerate(zip(*columns, strict=True)):
        newest[key] = at
    return in_order(rows[sorted(newest.values())])


def check_views(
    house: ClickHouse, physical: Physical, as_of: int, keys: tuple[str, ...], verdicts: Verdicts
) -> None:
    """A view of latest rows is what its table's rows say, one symbol after another if they are
    many."""
    by = next(c.name for c in physical.columns if c.name in ("symbol", "pair"))
    names = [n for n in ("symbol", "venue", "pair", "window") if n in _names(physical)]
    wheres = ["1"]
    if house.rows(f"SELECT count() FROM {physical.name}")[0][0] > ROWS_AT_ONCE:
        values = house.rows(f"SELECT DISTINCT `{by}` FROM {physical.name}")
        wheres = [f"`{by}` = '{value}'" for (value,) in values]
    for where in wheres:
        rows = house.read(physical, physical.name, physical.columns, f"{where} AND _r <= {as_of}")
        view = f"{physical.name}_latest(as_of={as_of})"
        found = house.read(physical, view, physical.columns, where)
        compare_rows(view, latest(rows, (*names, *keys)), found, as_of, verdicts)


def _names(physical: Physical) -> set[str]:
    return {column.name for column in physical.columns}


def check_versions(
    house: ClickHouse, versions: list[Physical], positions: Mapping[str, int], verdicts: Verdicts
) -> None:
    """I9: what versions of one table both have is the same up to where both are."""
    as_of = min(positions.get(one.name, 0) for one in versions)
    common = [c for c in versions[0].columns if all(c.name in _names(one) for one in versions)]
    names = ", ".join(f"`{column.name}`" for column in common)
    told = {
        one.name: house.rows(
            f"SELECT count(), sum(cityHash64({names})) FROM {one.name} WHERE _r <= {as_of}"
        )[0]
        for one in versions
    }
    verdicts.held("I9")
    if len(set(told.values())) > 1:
        first, *others = told.items()
        other = next(one for one in others if one[1] != first[1])
        verdicts.broken("I9", f"{other[0]} up to {as_of}", f"{first[1]} as {first[0]}", other[1])
