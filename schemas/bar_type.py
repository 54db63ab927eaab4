"""Bar types as NautilusTrader writes them, and the short specs that subjects and routes use.

``BTCUSDT.BINANCE-1-MINUTE-LAST-INTERNAL`` is ``1m`` of ``BTCUSDT.BINANCE``, made from last prices
(trades) by us (INTERNAL) or by the venue (EXTERNAL).
"""

import re
from typing import NamedTuple, Self

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
INTERVALS_S = {spec: int(spec[:-1]) * _SECONDS[spec[-1]] for spec in SPECS if spec[-1] != "M"}
"""Length in seconds of each spec of fixed length. Weeks begin on Monday, not at the epoch."""
SPEC_OF_INTERVAL_S = {interval: spec for spec, interval in INTERVALS_S.items()}

_BAR_TYPE = re.compile(
    r"(?P<id>.+)-(?P<step>[1-9][0-9]?)-(?P<unit>[A-Z]+)-LAST-(?P<source>INTERNAL|EXTERNAL)"
)


class BarType(NamedTuple):
    """Bars of last prices of one instrument; `external` where the venue made them."""

    instrument_id: InstrumentId
    spec: str
    external: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``SYMBOL.VENUE-step-UNIT-LAST-INTERNAL``. Raises ValueError for another form."""
        match = _BAR_TYPE.fullmatch(text)
        spec = match["step"] + _LETTERS.get(match["unit"], "") if match else ""
        if match is None or spec not in SPECS:
            raise ValueError(f"{text!r} is no bar type, as BTCUSDT.BINANCE-1-MINUTE-LAST-INTERNAL")
        return cls(InstrumentId.parse(match["id"]), spec, match["source"] == "EXTERNAL")

    @property
    def interval_s(self) -> int | None:
        """Length in seconds; None for the calendar's ``1M``."""
        return INTERVALS_S.get(self.spec)

    def __str__(self) -> str:
        source = "EXTERNAL" if self.external else "INTERNAL"
        unit = _UNITS[self.spec[-1]]
        return f"{self.instrument_id}-{self.spec[:-1]}-{unit}-LAST-{source}"
