"""Databases shared by the tests of projections; each test finds them empty."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tidemill.tests.projections.stores import Stores, stores_on
from tidemill.tests.servers import (
    RunningClickHouse,
    RunningPostgres,
    clickhouse_server,
    postgres_server,
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_clickhouse(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningClickHouse]:
    async with clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_postgres(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningPostgres]:
    async with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
async def stores(
    shared_clickhouse: RunningClickHouse, shared_postgres: RunningPostgres
) -> AsyncIterator[Stores]:
    """Both databases, migrated and empty."""
    async with stores_on(shared_clickhouse, shared_postgres) as both:
        yield both
