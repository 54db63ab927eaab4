"""Statements, each from its own .sql file beside the question that asks it.

``{{trades}}`` stands for the physical table of the version that answers; values are never put into
the text, they are bound.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

_TABLE = re.compile(r"\{\{(\w+)\}\}")
_PHYSICAL = re.compile(r"[a-z_]+__v[0-9]+(_[0-9]+)?")


@cache
def text(name: str) -> str:
    """Return ``<name>.sql`` of this folder."""
    return (Path(__file__).parent / f"{name}.sql").read_text()


def statement(name: str, tables: Mapping[str, str]) -> str:
    """Return ``<name>.sql`` with physical names in place of ``{{table}}``.

    Raises ValueError for what is no physical name, KeyError for a table that is not given.
    """
    return _filled(name, tuple(tables.items()))


@lru_cache(maxsize=1_024)
def _filled(name: str, tables: tuple[tuple[str, str], ...]) -> str:
    physical = dict(tables)
    for one in physical.values():
        if not _PHYSICAL.fullmatch(one):
            raise ValueError(f"{one!r} is no physical table")
    return _TABLE.sub(lambda match: physical[match[1]], text(name))
