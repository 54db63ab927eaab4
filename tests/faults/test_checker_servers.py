"""The checker finds the servers of a data directory by its files, and its command asks of them."""

import subprocess
import sys
from pathlib import Path

from tidemill.deploy.embedded.addresses import Ports, settle
from tidemill.deploy.embedded.servers import Fleet
from tidemill.tests.faults.checker.servers import urls_of


def test_urls_are_those_that_the_engine_itself_uses(tmp_path: Path) -> None:
    urls = Fleet(tmp_path, settle(tmp_path, Ports())).urls()
    found = urls_of(tmp_path)
    assert found.nats == urls.nats_engine
    assert found.postgres == urls.postgres
    assert found.clickhouse == urls.clickhouse


def test_the_command_says_how_it_is_used() -> None:
    argv = [sys.executable, "-m", "tidemill.tests.faults.checker", "--help"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert "--data-dir" in told.stdout
    assert "--confirmed" in told.stdout
