"""Statements, each from its own .sql file beside the code that runs it."""

from functools import cache
from pathlib import Path


@cache
def statement(name: str) -> str:
    """Return the text of ``<name>.sql`` in this folder."""
    return (Path(__file__).parent / "statements" / f"{name}.sql").read_text()
