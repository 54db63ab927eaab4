"""`tidemill record`: what a venue sends, as captures."""

from dataclasses import dataclass
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.streams.feeds import role
from tidemill.streams.feeds.live import Endpoints
from tidemill.streams.feeds.registry import venue_of


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    directory: Path
    venue: str
    product: str
    symbols: tuple[str, ...]
    websocket: str
    rest: str
    seconds: float | None
    connections: int
    json: bool


async def record(options: Options) -> Exit:
    """Record until the time is over or the command is stopped."""
    venue = venue_of(options.venue, options.product)
    own = venue.endpoints
    endpoints = Endpoints(options.websocket or own.websocket, options.rest or own.rest)
    wanted = role.Subscription(venue, options.symbols, endpoints, options.connections)
    files = await role.record(wanted, options.directory, options.seconds)
    answer({"files": [str(file) for file in files]}, options.json)
    return Exit.HELD if files else Exit.DID_NOT_HOLD
