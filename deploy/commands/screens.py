"""`tidemill screens`: the facts of which screens watch which bars of which instruments."""

from collections.abc import Iterable
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.schemas import events
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.screening.strategies import STRATEGIES
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log

SUBJECT = "ctl.screens.{name}"
DEMO = ScreenDefined(
    name="momentum",
    instruments=("*",),
    bars="1s",
    condition="crosses_above(rsi(14), 50) or crosses_below(rsi(14), 50)",
)
"""What a demo watches for."""

Change = ScreenDefined | ScreenRemoved


async def screens(event: Change | None, data_dir: Path, json: bool) -> Exit:
    """Define or remove a screen; list those that LOG then has, and the strategies that there are.
    Raises ValueError for a screen that could not run as it is meant."""
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "screens", archive_of(data_dir)) as opened,
    ):
        changed = await define(opened.log, [event] if event is not None else [])
        found = await defined(opened.log)
    listed = {name: one.model_dump(exclude={"sequence", "name"}) for name, one in found.items()}
    known = {name: strategy._asdict() for name, strategy in STRATEGIES.items()}
    answer({"screens": listed, "changed": changed, "strategies": known}, json)
    return Exit.HELD


async def define(log: Log, wanted: Iterable[Change]) -> list[str]:
    """Append what LOG does not say already; return the names.

    Raises ValueError, and appends none, where screens could not run; Unavailable, Fenced.
    """
    # Reads every indicator's kernel: only who defines a screen waits for them.
    from tidemill.processors.kernels.screen_plan import problems

    found = await defined(log)
    changed: list[Change] = []
    for one in wanted:
        before = found.pop(one.name, None)
        if isinstance(one, ScreenDefined):
            found[one.name] = one
        if found.get(one.name) != before:
            changed.append(one)
    in_order = [found[name] for name in sorted(found)]
    if any(isinstance(one, ScreenDefined) for one in changed) and (wrong := problems(in_order)):
        raise ValueError("; ".join(wrong))
    for event in changed:
        appender = Appender(log, SUBJECT.format(name=event.name))
        await appender.own()
        await appender.append([(appender.subject, events.encode(event))])
    return [one.name for one in changed]


async def defined(log: Log) -> dict[str, ScreenDefined]:
    """Return the screens that LOG has, by name."""
    newest = [events.decode(m.payload) for m in await log.lasts(SUBJECT.format(name="*"))]
    return {one.name: one for one in newest if isinstance(one, ScreenDefined)}
