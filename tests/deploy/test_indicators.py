"""Sets of indicators become facts: once, where they can run whole."""

import pytest

from tidemill.deploy.commands.indicators import DEMO, define, defined
from tidemill.schemas import events
from tidemill.schemas.errors import Unreadable
from tidemill.schemas.events.indicators import IndicatorSetDefined, IndicatorSetRemoved
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS


async def test_sets_are_appended_when_they_change_and_only_then() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    ended = IndicatorSetRemoved(name="demo")
    assert await define(log, [DEMO]) == ["demo"]
    assert await define(log, [DEMO]) == []
    assert await define(log, [ended]) == ["demo"]
    assert await define(log, [ended]) == []
    assert await defined(log) == {}
    held = [(m.subject, events.decode(m.payload)) for m in log.slice(1, log.end) if m is not None]
    assert held == [("ctl.indicators.demo", DEMO), ("ctl.indicators.demo", ended)]


async def test_a_set_that_cannot_run_is_refused_and_appends_nothing() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    wrong = DEMO.model_copy(update={"indicators": ("sma(20)", "sma(0)")})
    with pytest.raises(ValueError, match="period is a whole number from 1 to 1000"):
        await define(log, [wrong])
    assert log.end == 1


async def test_sets_are_refused_that_are_too_much_together() -> None:
    log = MemoryLog("LOG", LOG_SUBJECTS)
    minutes = DEMO.model_copy(update={"bars": ("1m",)})
    long = [
        minutes.model_copy(update={"name": f"s{k}", "indicators": (f"sma({900 + k})",)})
        for k in range(5)
    ]
    assert await define(log, long[:4]) == ["s0", "s1", "s2", "s3"]
    with pytest.raises(ValueError, match="words of state"):
        await define(log, long[4:])


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
