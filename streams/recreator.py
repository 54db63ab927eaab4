"""Makes a stream again that was lost: under its old identity, beginning at a given sequence.

It is quiet until it is whole: what is fed to it again is no news, so `live.>` does not show it.
"""

from tidemill.schemas.errors import Regressed
from tidemill.streams.declarations import Stream
from tidemill.streams.jetstream import UUID_KEY
from tidemill.streams.jetstream_connection import ApiError, Connection

_NO_STREAM = 10059


async def exists(connection: Connection, name: str) -> bool:
    """Return whether there is such a stream. Raises Unavailable."""
    try:
        await connection.api(f"STREAM.INFO.{name}")
    except ApiError as error:
        if error.err_code == _NO_STREAM:
            return False
        raise
    return True


async def recreate(connection: Connection, stream: Stream, uuid: str, first: int) -> None:
    """Make `stream` with this identity, its first message at sequence `first`.

    One of the name that never held a message is deleted before. Raises Regressed for one that did.
    """
    if await exists(connection, stream.name):
        state = (await connection.api(f"STREAM.INFO.{stream.name}"))["state"]
        if state["messages"] or state["last_seq"]:
            raise Regressed(f"{stream.name} is another stream, and not empty: move it away first")
        await connection.api(f"STREAM.DELETE.{stream.name}")
    config = stream.config() | {"metadata": {UUID_KEY: uuid}, "first_seq": first}
    config.pop("republish", None)
    await connection.api(f"STREAM.CREATE.{stream.name}", config)


async def quieten(connection: Connection, name: str) -> None:
    """Have `live.>` not show what a stream stores, until the migrator is run."""
    config = (await connection.api(f"STREAM.INFO.{name}"))["config"]
    if config.pop("republish", None) is not None:
        await connection.api(f"STREAM.UPDATE.{name}", config)
