"""`tidemill up`: the servers and every role of the configuration, until stopped."""

from pathlib import Path

from tidemill.deploy.children import (
    LIVE_PORT,
    QUERIES_PORT,
    bridged,
    environment,
    port_or_free,
    roles,
)
from tidemill.deploy.commands.deployment import deploy_code
from tidemill.deploy.commands.fees import charge, configured
from tidemill.deploy.commands.output import Exit, say
from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.embedded.servers import EmbeddedServers
from tidemill.deploy.prepared import prepare
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of, load


async def up(data_dir: Path) -> Exit:
    """Run what TIDEMILL_FEEDS names. Raises Missing without it, AlreadyRunning, ChildFailed."""
    settings = load()
    settings.require("feeds")
    async with EmbeddedServers(data_dir, signals=True) as servers:
        await prepare(servers.urls)
        async with streams(servers.urls.nats_engine, "up", archive_of(data_dir)) as opened:
            await deploy_code(opened.log, settings.graphs)
            await charge(opened.log, configured(settings.feeds))
        queries_port, live_port = port_or_free(QUERIES_PORT), port_or_free(LIVE_PORT)
        bridges, feeds = bridged(settings.feeds)
        env = environment(servers.urls, data_dir, feeds, live_port)
        await servers.supervisor.start(*bridges, *roles(env, queries_port, live_port))
        say(f"everything runs: http://{LOOPBACK}:{queries_port}; Ctrl-C stops it")
        await servers.supervisor.wait()
    return Exit.HELD
