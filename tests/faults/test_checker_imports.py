"""The checker shares no code with the engine: it imports nothing of it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import tidemill.tests.faults.checker

FOLDER = Path(tidemill.tests.faults.checker.__file__).parent
OWN = "tidemill.tests.faults.checker"


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


def of_the_engine(names: Iterator[str]) -> list[str]:
    ours = [name for name in names if name.split(".")[0] == "tidemill"]
    return [name for name in ours if name != OWN and not name.startswith(f"{OWN}.")]


def test_no_file_of_the_checker_imports_the_engine() -> None:
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) > 15
    for path in files:
        assert of_the_engine(imported(path)) == [], path


def test_no_file_of_the_checker_imports_by_name() -> None:
    for path in FOLDER.rglob("*.py"):
        for word in ("importlib", "__import__", "exec(", "eval("):
            assert word not in path.read_text(), path


def test_an_import_of_the_engine_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("def late():\n    from tidemill.schemas import frame\n    return frame\n")
    assert of_the_engine(imported(path)) == ["tidemill.schemas"]
