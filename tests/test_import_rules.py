"""Every import rule holds for the tree as it is, and is broken by a tree that breaks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("schemas", "streams", "processors", "projections", "gateway", "deploy")
CONFIGURATION = ROOT / "pyproject.toml"

BREAKS = {
    "one-way": ("schemas/errors.py", "import tidemill.streams.log"),
    "pure": ("processors/price.py", "import time"),
    "processors-alone": ("processors/price.py", "import tidemill.processors.bars"),
    "processors-pure-of-streams": ("processors/price.py", "import tidemill.streams.subjects"),
    "queries-only-read": ("gateway/queries/quote.py", "import tidemill.streams.log"),
    "live-only-streams": ("gateway/live/hub.py", "import tidemill.projections.registry"),
    "nats-behind-the-port": ("streams/writer.py", "import nats"),
    "clickhouse-behind-its-tables": ("deploy/settings.py", "import clickhouse_connect"),
    "venues-apart": ("streams/feeds/live.py", "import tidemill.streams.feeds.binance_spot"),
}
"""By contract: a file, and the import that must not stand in it."""


def lint(folder: Path, contract: str = "") -> str:
    """Check one contract, or all, on the package `tidemill` under `folder`; return what is said."""
    limit = f"limit_to_contracts=({contract!r},)," if contract else ""
    code = (
        "from importlinter.cli import lint_imports;"
        f"lint_imports(config_filename={str(CONFIGURATION)!r}, {limit}"
        f" cache_dir={str(folder / 'cache')!r})"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that a test may break, and must mend again."""
    folder = tmp_path_factory.mktemp("copy")
    for name in FOLDERS:
        shutil.copytree(
            ROOT / name,
            folder / "tidemill" / name,
            ignore=shutil.ignore_patterns("__pycache__", "*.nb?"),
        )
    (folder / "tidemill" / "tests").mkdir()
    for package in ("", "tests"):  # a package, so that the checkout does not join in
        (folder / "tidemill" / package / "__init__.py").write_text("")
    return folder


def test_every_contract_has_a_tree_that_breaks_it() -> None:
    text = CONFIGURATION.read_text()
    named = {line.split('"')[1] for line in text.splitlines() if line.startswith("id = ")}
    assert named == set(BREAKS)


def test_the_tree_keeps_every_rule(copy: Path) -> None:
    assert f"Contracts: {len(BREAKS)} kept, 0 broken" in lint(copy)


@pytest.mark.parametrize("contract", BREAKS)
def test_one_import_breaks_the_rule(contract: str, copy: Path) -> None:
    file, line = BREAKS[contract]
    path = copy / "tidemill" / file
    whole = path.read_text()
    path.write_text(f"{whole}\n{line}\n")
    try:
        assert "Contracts: 0 kept, 1 broken" in lint(copy, contract)
    finally:
        path.write_text(whole)
