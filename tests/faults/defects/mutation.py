"""A defect put into the engine: one place of its source, changed while a `with` lasts."""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True)
class Mutation:
    """In the function `place` (``module:Class.function``), `old` becomes `new`."""

    place: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Change the function. Raises ValueError where its source has not `old` exactly once."""
        module_name, _, path = self.place.partition(":")
        module = importlib.import_module(f"tidemill.{module_name}")
        *outer, name = path.split(".")
        owner: Any = module
        for part in outer:
            owner = getattr(owner, part)
        found = inspect.getattr_static(owner, name)
        function = found.fget if isinstance(found, property) else found
        assert isinstance(function, FunctionType), self.place
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise ValueError(f"{self.place} has {self.old!r} {source.count(self.old)} times")
        made: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), self.place, "exec"), module.__dict__, made)
        with patch.object(owner, name, made[name]):
            yield
