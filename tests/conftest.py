"""Fixtures every test may ask for: real servers of its own, gone when it ends."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from tidemill.deploy.kernels import keep_kernels
from tidemill.tests.servers import (
    RunningClickHouse,
    RunningNats,
    RunningPostgres,
    RunningValkey,
    clickhouse_server,
    nats_server,
    postgres_server,
    valkey_server,
)

assert "numba" not in sys.modules, "kernels must be kept before numba is loaded"
keep_kernels()

CAMPAIGNS = (
    "tests/faults/",
    "tests/flow/test_one_digest_killed.py",
    "tests/flow/test_role_killed.py",
    "tests/projections/test_killed.py",
    "tests/deploy/test_clickhouse_front_process.py",
    "tests/deploy/test_supervisor_killed.py",
    "tests/contracts/test_log_faults.py",
)
"""What kills, stops or floods, or measures how long something may take."""


class Files(LoadFileScheduling):
    """With `-n`, a file runs in one process, and so do all campaigns: no two of them at once."""

    def _split_scope(self, nodeid: str) -> str:
        return "campaigns" if nodeid.startswith(CAMPAIGNS) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Files:
    """What `--dist` says is of no matter: this is the way that these tests are dealt out."""
    return Files(config, log)


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[RunningNats]:
    """A nats-server of this test's own: `url`, `urls[role]`, `name`, `kill()`, `restart()`."""
    async with nats_server(tmp_path) as server:
        yield server


@pytest.fixture
def nats_url(nats: RunningNats) -> str:
    """Where to connect to this test's own nats-server, as admin."""
    return nats.url


@pytest.fixture
async def postgres(tmp_path: Path) -> AsyncIterator[RunningPostgres]:
    """A Postgres of this test's own: `dsn`, `reader_dsn`, `kill()`, `restart()`."""
    async with postgres_server(tmp_path) as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres: RunningPostgres) -> str:
    """Where to connect to this test's own database, as its owner."""
    return postgres.dsn


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[RunningValkey]:
    """A Valkey of this test's own: `url`, `kill()`, `restart()`."""
    async with valkey_server(tmp_path) as server:
        yield server


@pytest.fixture
def valkey_url(valkey: RunningValkey) -> str:
    """Where to connect to this test's own cache."""
    return valkey.url


@pytest.fixture
async def clickhouse(tmp_path: Path) -> AsyncIterator[RunningClickHouse]:
    """A ClickHouse of this test's own: `url`, `reader_url`, `kill()`, `restart()`."""
    async with clickhouse_server(tmp_path) as server:
        yield server


@pytest.fixture
def clickhouse_url(clickhouse: RunningClickHouse) -> str:
    """Where to connect to this test's own ClickHouse, as its owner."""
    return clickhouse.url
