"""Strategies by name, or from a file of one's own."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tidemill.processors.kernels.backtest.built_in import BUILT_IN
from tidemill.processors.kernels.backtest.strategy import Compiled, Strategy

Given = Mapping[str, float]


@dataclass(frozen=True)
class Chosen:
    """A strategy as it was asked for: a built-in name, FILE.py, or FILE.py:Class.

    A process that searches loads it for itself: a class of a file cannot be sent to one.
    """

    name: str

    def load(self) -> type[Strategy]:
        """Return its class. Raises ValueError where there is none, or more than one."""
        path, _, wanted = self.name.partition(".py")
        if ".py" not in self.name:
            if self.name not in BUILT_IN:
                raise ValueError(
                    f"no strategy {self.name!r}: one of {', '.join(BUILT_IN)}, or a FILE.py"
                )
            return BUILT_IN[self.name]
        return _of_file(Path(f"{path}.py"), wanted.removeprefix(":"))


def _of_file(path: Path, wanted: str) -> type[Strategy]:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    module_name = f"tidemill_strategy_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    found = {
        name: one
        for name, one in vars(module).items()
        if isinstance(one, type)
        and issubclass(one, Strategy)
        and one not in (Strategy, Compiled)
        and one.__module__ == module_name
    }
    if wanted:
        found = {name: one for name, one in found.items() if name == wanted}
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise ValueError(f"{path} has {names}: name one strategy, as {path.name}:Class")
    return next(iter(found.values()))
