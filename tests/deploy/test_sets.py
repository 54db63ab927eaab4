"""Sets of indicators and of activity bars become facts: once, where they can run whole."""

import asyncio
from pathlib import Path

import pytest

from tidemill.deploy.commands.sets import ACTIVITY_BARS, INDICATORS, change, define, defined
from tidemill.deploy.commands.sets import DEMO as OF_DEMO
from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.activity_bars import ActivityBarsDefined
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS

DEMO = IndicatorSetDefined.read(OF_DEMO[INDICATORS].model_dump(exclude={"sequence"}))


async def test_sets_are_appended_when_they_change_and_only_then() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    ended = IndicatorSetRemoved(name="demo")
    assert await define(log, INDICATORS, [DEMO]) == ["demo"]
    assert await define(log, INDICATORS, [DEMO]) == []
    assert await define(log, INDICATORS, [ended]) == ["demo"]
    assert await define(log, INDICATORS, [ended]) == []
    assert await defined(log, INDICATORS) == {}
    held = [(m.subject, events.decode(m.payload)) for m in log.slice(1, log.end) if m is not None]
    assert held == [("ctl.indicators.demo", DEMO), ("ctl.indicators.demo", ended)]


async def test_a_set_that_cannot_run_is_refused_and_appends_nothing() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    wrong = DEMO.model_copy(update={"indicators": ("sma(20)", "sma(0)")})
    with pytest.raises(ValueError, match="period is a whole number from 1 to 1000"):
        await define(log, INDICATORS, [wrong])
    assert log.end == 1


async def test_sets_are_refused_that_are_too_much_together() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    minutes = DEMO.model_copy(update={"bars": ("1m",)})
    long = [
        minutes.model_copy(update={"name": f"s{k}", "indicators": (f"sma({900 + k})",)})
        for k in range(5)
    ]
    assert await define(log, INDICATORS, long[:4]) == ["s0", "s1", "s2", "s3"]
    with pytest.raises(ValueError, match="words of state"):
        await define(log, INDICATORS, long[4:])


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Trend"},
        {"instruments": ["btcusdt"]},
        {"instruments": ["*"] * 201},
        {"indicators": ["sma(20); DROP TABLE"]},
    ],
)
def test_what_is_no_set_is_not_read(wrong: dict[str, object]) -> None:
    fields = {"name": "a", "instruments": ["*"], "bars": ["1m"], "indicators": ["obv"]}
    assert IndicatorSetDefined.read(fields).indicators == ("obv",)
    with pytest.raises(Unreadable):
        IndicatorSetDefined.read(fields | wrong)


def test_a_name_needs_a_set_or_its_end() -> None:
    for name, fields, remove in (
        ("a", None, False),
        ("", {"bars": ["TICK"]}, False),
        ("", None, True),
    ):
        with pytest.raises(ValueError, match="name a set"):
            asyncio.run(change(ACTIVITY_BARS, name, fields, remove, Path(), json=False))
    with pytest.raises(ValueError, match=r"'1\.5' is no step of TICK"):
        fields = {"instruments": ["*"], "bars": ["1.5-TICK"]}
        asyncio.run(change(ACTIVITY_BARS, "a", fields, False, Path(), json=False))


async def test_two_steps_of_one_aggregation_on_one_instrument_are_refused() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)

    def some(name: str, on: str, *bars: str) -> ActivityBarsDefined:
        return ActivityBarsDefined(name=name, instruments=(on,), bars=bars)

    await define(log, ACTIVITY_BARS, [some("a", "*.BINANCE", "100-TICK", "RENKO")])
    await define(log, ACTIVITY_BARS, [some("b", "*.OKX", "200-TICK")])
    await define(log, ACTIVITY_BARS, [some("c", "*", "RENKO", "VALUE")])
    for wrong in (some("d", "BTCUSDT.BINANCE", "200-TICK"), some("d", "X.Y", "1-RANGE", "2-RANGE")):
        with pytest.raises(ValueError, match="cannot both be made of one instrument"):
            await define(log, ACTIVITY_BARS, [wrong])
    await define(log, ACTIVITY_BARS, [some("a", "*.BINANCE", "200-TICK")])
    assert await define(log, ACTIVITY_BARS, [some("d", "BTCUSDT.BINANCE", "200-TICK")]) == ["d"]
