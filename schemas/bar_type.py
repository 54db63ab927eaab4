"""Bar types as NautilusTrader writes them, and the short specs that subjects and routes use.

``BTCUSDT.BINANCE-1-MINUTE-LAST-INTERNAL`` is ``1m`` of ``BTCUSDT.BINANCE``, made from last prices
(trades) by us (INTERNAL) or by the venue (EXTERNAL). ``BTCUSDT.BINANCE-1000-TICK-LAST-INTERNAL``
closes by what was traded: its spec is ``tick`` and its step 1000. Steps are whole trades, or exact
amounts of quantity, of price x quantity (VALUE) or of price (RENKO, in ticks at NautilusTrader, and
RANGE, which it has not); of imbalance and runs the trades that a bar is first expected to have
(there the threshold itself).
"""

import re
from typing import NamedTuple, Self

from tidemill.schemas.enums import BarAggregation
from tidemill.schemas.identifiers import InstrumentId

_UNITS = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "M": "MONTH"}
_LETTERS = {unit: letter for letter, unit in _UNITS.items()}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

BUILT_SPECS = ("1s", "1m", "5m", "15m", "1h", "4h", "1d")
"""Specs that the bars processor makes."""
SPECS = (
    *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"),
    *("3d", "1w", "1M"),
)
"""Every spec that has a name here, shortest first; ``1M`` is the calendar's and has no length."""
RESAMPLED_SPECS = tuple(spec for spec in SPECS if spec not in BUILT_SPECS)
"""Specs that the resampled_bars processor makes, of bars."""
INTERVALS_S = {spec: int(spec[:-1]) * _SECONDS[spec[-1]] for spec in SPECS if spec[-1] != "M"}
"""Length in seconds of each spec of fixed length. Weeks begin on Monday, not at the epoch."""
SPEC_OF_INTERVAL_S = {interval: spec for spec, interval in INTERVALS_S.items()}

ACTIVITY_SPECS = tuple(aggregation.name.lower() for aggregation in BarAggregation)
"""Specs of bars that close by what was traded, by NautilusTrader's names."""

_BAR_TYPE = re.compile(
    r"(?P<id>.+)-(?P<step>[0-9][0-9.]*)-(?P<unit>[A-Z_]+)-LAST-(?P<source>INTERNAL|EXTERNAL)"
)
_STEP = re.compile(r"(?!0+(\.0+)?$)(0|[1-9][0-9]{0,19})(\.[0-9]{0,17}[1-9])?")


def activity_of(step: str, unit: str) -> str:
    """Return the spec of an aggregation, a name in capitals, if it can have this step.

    Raises ValueError.
    """
    spec = unit.lower()
    if spec not in ACTIVITY_SPECS or spec == unit:
        raise ValueError(f"{unit!r} is no aggregation; there are {', '.join(ACTIVITY_SPECS)}")
    whole = spec == "tick" or spec.endswith(("imbalance", "runs"))
    if not _STEP.fullmatch(step) or (whole and "." in step):
        raise ValueError(f"{step!r} is no step of {unit}: an exact amount above 0, trades whole")
    return spec


class BarType(NamedTuple):
    """Bars of last prices of one instrument; `external` where the venue made them.

    `step`, decimal text, is of those alone whose spec is one of ACTIVITY_SPECS.
    """

    instrument_id: InstrumentId
    spec: str
    external: bool = False
    step: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``SYMBOL.VENUE-step-UNIT-LAST-INTERNAL``. Raises ValueError for another form."""
        match = _BAR_TYPE.fullmatch(text)
        example = "as BTCUSDT.BINANCE-1-MINUTE-LAST-INTERNAL"
        if match is None:
            raise ValueError(f"{text!r} is no bar type, {example}")
        of, external = InstrumentId.parse(match["id"]), match["source"] == "EXTERNAL"
        step, unit = match["step"], match["unit"]
        spec = step + _LETTERS.get(unit, "")
        if spec in SPECS:
            return cls(of, spec, external)
        try:
            return cls(of, activity_of(step, unit), external, step)
        except ValueError as error:
            raise ValueError(f"{text!r} is no bar type, {example}: {error}") from error

    @property
    def interval_s(self) -> int | None:
        """Length in seconds; None for the calendar's ``1M``, and for what time does not close."""
        return INTERVALS_S.get(self.spec)

    def __str__(self) -> str:
        source = "EXTERNAL" if self.external else "INTERNAL"
        if self.step:
            return f"{self.instrument_id}-{self.step}-{self.spec.upper()}-LAST-{source}"
        unit = _UNITS[self.spec[-1]]
        return f"{self.instrument_id}-{self.spec[:-1]}-{unit}-LAST-{source}"
