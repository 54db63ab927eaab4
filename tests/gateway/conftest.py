"""Both databases with one small market in them, and a client of the queries server before them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tidemill.tests.gateway.asking import Client, client_of
from tidemill.tests.gateway.market import fill
from tidemill.tests.projections.stores import Stores, stores_on
from tidemill.tests.servers import clickhouse_server, postgres_server, valkey_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def market(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Databases as the projections' migrations make them, with the rows of market.py."""
    async with AsyncExitStack() as stack:
        directory = tmp_path_factory.mktemp("market")
        clickhouse = await stack.enter_async_context(clickhouse_server(directory))
        postgres = await stack.enter_async_context(postgres_server(directory))
        stores = await stack.enter_async_context(stores_on(clickhouse, postgres))
        await fill(stores)
        yield stores


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(market: Stores) -> AsyncIterator[Client]:
    """Asks the queries server, which reads as the reader roles and has no cache."""
    async with client_of(market) as asking:
        yield asking


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def valkey_of_session(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A Valkey's URL."""
    async with valkey_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server.url
