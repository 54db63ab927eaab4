"""`tidemill indicators`, `activity-bars`, `screens`, `anomalies`: facts of what is made of what.

Composites, whose instruments need a definition of their own: commands/composites.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.processors.kernels import activity_plan, composite_plan, indicator_state
from tidemill.schemas import events
from tidemill.schemas.bar_type import ACTIVITY_SPECS
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.activity_bars import ActivityBarsDefined, ActivityBarsRemoved
from tidemill.schemas.events.anomalies import AnomaliesDefined, AnomaliesRemoved
from tidemill.schemas.events.composites import CompositeDefined, CompositeRemoved
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.screening.strategies import STRATEGIES
from tidemill.streams.appender import Appender
from tidemill.streams.log import Log

Defined = (
    ActivityBarsDefined | AnomaliesDefined | CompositeDefined | IndicatorSetDefined | ScreenDefined
)
Removed = (
    ActivityBarsRemoved | AnomaliesRemoved | CompositeRemoved | IndicatorSetRemoved | ScreenRemoved
)
Change = Defined | Removed


@dataclass(frozen=True)
class Sets:
    """Sets that travel on ``ctl.<what>.<name>``: the events that define and end one, what says
    which of several, in order of name, could not run as they are meant, and what they may name."""

    what: str
    defined: type[Defined]
    removed: type[Removed]
    problems: Callable[[Any], list[str]]
    known: Mapping[str, Any] = field(default_factory=dict, compare=False)


def _of_screens(screens: Sequence[ScreenDefined]) -> list[str]:
    # Reads every indicator's kernel: only who defines a screen waits for them.
    from tidemill.processors.kernels.screen_plan import problems

    return problems(screens)


def _of_anomalies(sets: Sequence[AnomaliesDefined]) -> list[str]:
    # As above.
    from tidemill.processors.kernels.anomaly_plan import problems

    return problems(sets)


INDICATORS = Sets("indicators", IndicatorSetDefined, IndicatorSetRemoved, indicator_state.problems)
ACTIVITY_BARS = Sets(
    "activity_bars", ActivityBarsDefined, ActivityBarsRemoved, activity_plan.problems
)
COMPOSITES = Sets("composites", CompositeDefined, CompositeRemoved, composite_plan.problems)
SCREENS = Sets(
    "screens",
    ScreenDefined,
    ScreenRemoved,
    _of_screens,
    {name: strategy._asdict() for name, strategy in STRATEGIES.items()},
)
ANOMALIES = Sets("anomalies", AnomaliesDefined, AnomaliesRemoved, _of_anomalies)
DEMO: dict[Sets, Change] = {
    INDICATORS: IndicatorSetDefined(
        name="demo",
        instruments=("*",),
        bars=("1s", "1m"),
        indicators=("sma(20)", "ema(20)", "rsi(14)", "atr(14)", "obv"),
    ),
    ACTIVITY_BARS: ActivityBarsDefined(
        name="demo", instruments=("*",), bars=tuple(spec.upper() for spec in ACTIVITY_SPECS)
    ),
    SCREENS: ScreenDefined(
        name="momentum",
        instruments=("*",),
        bars="1s",
        condition="crosses_above(rsi(14), 50) or crosses_below(rsi(14), 50)",
    ),
    ANOMALIES: AnomaliesDefined(
        name="demo",
        instruments=("*",),
        bars="1s",
        detectors=("return_z(20)", "volume_z(20)", "range_z(20)", "flash_crash(14)"),
    ),
}
"""What a demo shows."""


async def change(
    of: Sets,
    name: str,
    fields: Mapping[str, object] | None,
    remove: bool,
    data_dir: Path,
    json: bool,
) -> Exit:
    """Define the set of a name by its fields, or remove it; list those that LOG then has.

    Raises ValueError for what is no set, or could not run as it is meant.
    """
    if bool(name) != (remove or fields is not None) or (remove and fields):
        raise ValueError("name a set and what is in it, or --remove it")
    event: Change | None = None
    try:
        if remove:
            event = of.removed.read({"name": name})
        elif fields:
            event = of.defined.read({"name": name, **fields})
    except Unreadable as error:
        raise ValueError(str(error)) from error
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, of.what, archive_of(data_dir)) as opened,
    ):
        changed = await define(opened.log, of, [event] if event else [])
        sets = await defined(opened.log, of)
    listed = {name: one.model_dump(exclude={"sequence", "name"}) for name, one in sets.items()}
    answer({"sets": listed, "changed": changed, **({"known": of.known} if of.known else {})}, json)
    return Exit.HELD


async def define(log: Log, of: Sets, wanted: Iterable[Change]) -> list[str]:
    """Append what LOG does not say already; return the names.

    Raises ValueError, and appends none, where sets could not run whole; Unavailable, Fenced.
    """
    sets = await defined(log, of)
    changed: list[Change] = []
    for one in wanted:
        before = sets.pop(one.name, None)
        if isinstance(one, of.defined):
            sets[one.name] = one
        if sets.get(one.name) != before:
            changed.append(one)
    in_order = [sets[name] for name in sorted(sets)]
    adds = any(isinstance(one, of.defined) for one in changed)  # what is wrong can be removed
    if adds and (wrong := of.problems(in_order)):
        raise ValueError("; ".join(wrong))
    for event in changed:
        appender = Appender(log, f"ctl.{of.what}.{event.name}")
        await appender.own()
        await appender.append([(appender.subject, events.encode(event))])
    return [one.name for one in changed]


async def defined(log: Log, of: Sets) -> dict[str, Any]:
    """Return the sets that LOG has, by name."""
    newest: list[Any] = [events.decode(m.payload) for m in await log.lasts(f"ctl.{of.what}.*")]
    return {one.name: one for one in newest if isinstance(one, of.defined)}
