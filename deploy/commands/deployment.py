"""`tidemill deploy`: the fact that this code may write from here on."""

from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.graphs import graphs
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import GraphLayout, archive_of
from tidemill.schemas import events
from tidemill.schemas.events.control import CodeDeployed
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log
from tidemill.streams.runtime.code_hash import code_hash


async def deploy(data_dir: Path, json: bool) -> Exit:
    """Append the fact for every graph that runs other code."""
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "deploy", archive_of(data_dir)) as opened,
    ):
        changed = await deploy_code(opened.log, "fused") | await deploy_code(opened.log, "split")
    answer({"code_hash": code_hash(), "deployed": sorted(changed)}, json)
    return Exit.HELD


async def deploy_code(log: Log, layout: GraphLayout) -> set[str]:
    """Append that this code is deployed where LOG says another, or nothing; return the graphs."""
    changed = set()
    for name in graphs(layout):
        appender = Appender(log, f"ctl.deploy.{name}")
        newest = await appender.own()
        known = events.decode(newest.payload) if newest is not None else None
        if isinstance(known, CodeDeployed) and known.code_hash == code_hash():
            continue
        event = CodeDeployed(graph=name, code_hash=code_hash())
        await appender.append([(appender.subject, events.encode(event))])
        changed.add(name)
    return changed
