"""What Postgres' driver raises, as what the caller does about it."""

import asyncpg
import pytest

from tidemill.projections.postgres.errors import unavailable
from tidemill.schemas.errors import Unavailable


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("nobody listens"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.InterfaceError("connection has been released back to the pool"),
        # Of a process that stood still in the middle of a transaction.
        asyncpg.IdleInTransactionSessionTimeoutError("terminating connection due to timeout"),
        # A disk that failed once: found by refusing the server a write.
        asyncpg.PostgresIOError('could not extend file "base/12786/t1_32784": Input/output error'),
        # A query that began as the server was killed: found by killing it under load.
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in"),
    ],
)
def test_a_server_that_goes_is_waited_for(error: Exception) -> None:
    with pytest.raises(Unavailable, match="Postgres"), unavailable():
        raise error


def test_a_wrong_statement_is_a_bug() -> None:
    with pytest.raises(asyncpg.UndefinedTableError), unavailable():
        raise asyncpg.UndefinedTableError("no such table")
