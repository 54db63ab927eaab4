"""Screens become facts: once, where they can run."""

import pytest

from tidemill.deploy.commands.sets import DEMO as OF_DEMO
from tidemill.deploy.commands.sets import SCREENS, define, defined
from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.screens import ScreenDefined, ScreenRemoved
from tidemill.schemas.screening.strategies import STRATEGIES
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

DEMO = ScreenDefined.read(OF_DEMO[SCREENS].model_dump(exclude={"sequence"}))


async def test_screens_are_appended_when_they_change_and_only_then() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    ended = ScreenRemoved(name=DEMO.name)
    assert await define(log, SCREENS, [DEMO]) == [DEMO.name]
    assert await define(log, SCREENS, [DEMO]) == []
    assert await defined(log, SCREENS) == {DEMO.name: DEMO}
    assert await define(log, SCREENS, [ended]) == [DEMO.name]
    assert await define(log, SCREENS, [ended]) == []
    assert await defined(log, SCREENS) == {}
    subject = f"ctl.screens.{DEMO.name}"
    held = [(m.subject, events.decode(m.payload)) for m in log.slice(1, log.end) if m is not None]
    assert held == [(subject, DEMO), (subject, ended)]


async def test_a_screen_that_cannot_run_is_refused_and_appends_nothing() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    wrong = DEMO.model_copy(update={"condition": "rsi(14) < 30 and macd > 0"})
    with pytest.raises(ValueError, match=r"momentum: macd.* write macd"):
        await define(log, SCREENS, [DEMO, wrong])
    assert log.end == 1


async def test_a_screen_that_is_wrong_can_be_removed() -> None:
    """As one that another version of the engine knew."""
    log = MemoryLog("LOG", LOG_SUBJECTS)
    wrong = DEMO.model_copy(update={"condition": "nothing > 0"})
    await log.append([("ctl.screens.momentum", events.encode(wrong))], None)
    assert await define(log, SCREENS, [ScreenRemoved(name="momentum")]) == ["momentum"]


async def test_all_strategies_run_together() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    every = [
        ScreenDefined(name=name, instruments=("*",), bars="1m", condition=one.condition)
        for name, one in STRATEGIES.items()
    ]
    assert await define(log, SCREENS, every) == list(STRATEGIES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Trend"},
        {"instruments": ["btcusdt"]},
        {"instruments": []},
        {"condition": "close > 1 \u00e9"},
        {"condition": "close > 1" + " " * 1_000},
        {"bars": "1m,5m"},
    ],
)
def test_what_is_no_screen_is_not_read(wrong: dict[str, object]) -> None:
    fields = {"name": "a", "instruments": ["*"], "bars": "1m", "condition": "close > 1"}
    assert ScreenDefined.read(fields).condition == "close > 1"
    assert ScreenDefined.read({**fields, "condition": ""}).condition == ""
    with pytest.raises(Unreadable):
        ScreenDefined.read(fields | wrong)
