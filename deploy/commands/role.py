"""`tidemill run`: one role of one process, for real deployments and for the supervisor."""

import asyncio
import contextlib
import signal

from prometheus_client import start_http_server

from tidemill.deploy.commands.output import Exit
from tidemill.deploy.settings import Missing, Settings, load

ROLES = ("feeds", "time", "graph", "projections", "queries", "live", "archive", "load")


async def role(role: str, names: tuple[str, ...], shard: str, host: str, port: int) -> Exit:
    """Run a role until it is stopped. Raises Missing for a role or setting that there is not."""
    settings = load()
    index, _, count = shard.partition("/")
    if not (index.isdecimal() and count.isdecimal()):
        raise Missing(f"--shard {shard} is not of the form 0/2")
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    running = asyncio.create_task(
        _run(role, names, (int(index), int(count)), (host, port), settings)
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    return Exit.HELD


async def _run(
    role: str,
    names: tuple[str, ...],
    shard: tuple[int, int],
    address: tuple[str, int],
    settings: Settings,
) -> None:
    match role:
        case "time":
            from tidemill.deploy.roles import time

            await time.run(settings)
        case "feeds":
            from tidemill.deploy.roles import feeds

            await feeds.run(settings, names)
        case "graph":
            from tidemill.deploy.roles import graph

            for name in names or ("main",):
                await graph.run(settings, name, *shard)
        case "projections":
            from tidemill.deploy.roles import projections

            await projections.run(settings, names)
        case "queries" | "live":
            await _serve(role, address, settings)
        case "archive":
            from tidemill.deploy.roles import archive

            await archive.run(settings)
        case "load":
            from tidemill.deploy.roles import load

            if len(names) != 1 or not names[0].isdecimal():
                raise Missing("role load needs a rate: trades a second, as 50000")
            await load.run(settings, int(names[0]))
        case _:
            raise Missing(f"there is no role {role}; there are {', '.join(ROLES)}")


async def _serve(role: str, address: tuple[str, int], settings: Settings) -> None:
    if role == "queries":
        from tidemill.deploy.roles import queries

        await queries.run(settings, *address)
    else:
        from tidemill.deploy.roles import live

        await live.run(settings, *address)
