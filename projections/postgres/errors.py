"""Postgres' errors as this project's: what may pass is Unavailable, the rest is a bug."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tidemill.schemas.errors import Unavailable

_PASSING = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # A process that stood still in the middle of a transaction: Postgres has given it up.
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.DiskFullError,
    asyncpg.PostgresIOError,
    asyncpg.OutOfMemoryError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
    # What asyncpg raises for a query that begins while it takes in that the server has gone.
    asyncpg.InternalClientError,
)


@contextmanager
def unavailable() -> Iterator[None]:
    """Raise Unavailable for what trying again may cure; the outcome is not known then."""
    try:
        yield
    except _PASSING as error:
        raise Unavailable(f"Postgres: {error or type(error).__name__}") from error
