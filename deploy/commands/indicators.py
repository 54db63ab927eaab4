"""`tidemill indicators`: the facts of which indicators run on which bars of which instruments."""

from collections.abc import Iterable
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.processors.kernels.indicator_state import problems
from tidemill.schemas import events
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log

SUBJECT = "ctl.indicators.{name}"
DEMO = IndicatorSetDefined(
    name="demo",
    instruments=("*",),
    bars=("1s", "1m"),
    indicators=("sma(20)", "ema(20)", "rsi(14)", "atr(14)", "obv"),
)
"""What a demo shows."""


Change = IndicatorSetDefined | IndicatorSetRemoved


async def indicators(event: Change | None, data_dir: Path, json: bool) -> Exit:
    """Define or remove a set; list those that LOG then has. Raises ValueError for a set that could
    not run as it is meant."""
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "indicators", archive_of(data_dir)) as opened,
    ):
        changed = await define(opened.log, [event] if event is not None else [])
        sets = await defined(opened.log)
    listed = {name: one.model_dump(exclude={"sequence", "name"}) for name, one in sets.items()}
    answer({"sets": listed, "changed": changed}, json)
    return Exit.HELD


async def define(log: Log, wanted: Iterable[Change]) -> list[str]:
    """Append what LOG does not say already; return the names.

    Raises ValueError, and appends none, where sets could not run whole; Unavailable, Fenced.
    """
    sets = await defined(log)
    changed: list[Change] = []
    for one in wanted:
        before = sets.pop(one.name, None)
        if isinstance(one, IndicatorSetDefined):
            sets[one.name] = one
        if sets.get(one.name) != before:
            changed.append(one)
    if changed and (wrong := problems(list(sets.values()))):
        raise ValueError("; ".join(wrong))
    for event in changed:
        appender = Appender(log, SUBJECT.format(name=event.name))
        await appender.own()
        await appender.append([(appender.subject, events.encode(event))])
    return [one.name for one in changed]


async def defined(log: Log) -> dict[str, IndicatorSetDefined]:
    """Return the sets that LOG has, by name."""
    newest = [events.decode(m.payload) for m in await log.lasts(SUBJECT.format(name="*"))]
    return {one.name: one for one in newest if isinstance(one, IndicatorSetDefined)}
