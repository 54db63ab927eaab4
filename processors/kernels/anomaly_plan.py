"""Detectors of anomalies: which numbers of a bar they score, what of, and from where on how bad.

They are indicators of processors/kernels/anomalies.py, and `flash_crash(period)`: 40 points at most
for volatility (natr of `period` bars, %) over depth (bids and asks within 1 % of mid, in hundreds
of thousands of dollars); 10, 20, 30 for asks over bids above 1.2, 1.5, 2; and 10, 20, 30 for a
depth below 1,000,000, 500,000, 100,000 dollars. `cascade` is 0.6 of the first, and 40 more where
asks over bids are above 1.5. It says nothing where the instrument's book is not proven, or is not
quoted in dollars or a token for one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tidemill.processors.kernels import indicator_catalog
from tidemill.processors.kernels.indicator import Values
from tidemill.processors.kernels.indicator_state import NAME_CHARS_MAX, SPECS
from tidemill.processors.kernels.screen_plan import Builder, Watches
from tidemill.processors.kernels.screen_state import HELD_MAX, WORDS_MAX
from tidemill.schemas.enums import Severity
from tidemill.schemas.events.anomalies import AnomaliesDefined
from tidemill.schemas.screening.tree import Indicator

SETS_MAX = 64
"""Sets that run at once: those whose names come first."""
DEPTH, ASKS_OVER_BIDS = "depth", "asks_over_bids"
"""Numbers that are given beside those of screens: in dollars, and as a part; NaN not known."""
FLASH_CRASH = "flash_crash"


class Detector(NamedTuple):
    """The bounds of a score from which on an anomaly is LOW, MEDIUM, HIGH, CRITICAL, which output
    of the indicator is the score, whether its sign does not matter, and fields to other outputs."""

    bounds: tuple[float, float, float, float]
    score: str
    either: bool
    evidence: dict[str, str]


_Z = {"median": "median", "deviation": "deviation"}
_POINTS = (50.0, 60.0, 70.0, 80.0)
DETECTORS: dict[str, Detector] = {
    "return_z": Detector((3.0, 6.0, 12.0, 24.0), "z", True, _Z),
    "volume_z": Detector((3.0, 6.0, 12.0, 24.0), "z", False, _Z),
    "range_z": Detector((2.5, 5.0, 10.0, 20.0), "z", False, _Z),
    "pump_and_dump": Detector(
        _POINTS,
        "score",
        False,
        {f"{name}_points": name for name in ("volume", "price", "rapidity", "lost")},
    ),
    "half_space_trees": Detector((0.97, 0.98, 0.99, 0.995), "score", False, {"density": "density"}),
    FLASH_CRASH: Detector(_POINTS, "score", False, {}),
}
"""By name. Of z-scores each severity is twice the one below it."""


class Told(NamedTuple):
    """What a detector says: whose set it is of, its one name, how far it looks back, the step,
    counted from 0 among those that say so, where it becomes news; its first bound, and the places
    of its score and evidence."""

    of: int
    detector: str
    reach: int
    news: int
    threshold: float
    numbers: dict[str, int]


class Anomalies(Watches):
    """The sets of detectors that LOG has."""

    given = (DEPTH, ASKS_OVER_BIDS)

    def __init__(self, defined: Sequence[AnomaliesDefined]) -> None:
        super().__init__(defined[:SETS_MAX])
        self._detectors = [one.detectors for one in defined[:SETS_MAX] if one.bars in SPECS]

    def add(self, builder: Builder, k: int) -> None:
        """Add a set's detectors, those that are known."""
        for text in self._detectors[k]:
            try:
                _detect(builder, k, self.names[k], text)
            except ValueError:  # of another version: a command would have refused it
                continue


@lru_cache(maxsize=8)
def anomalies_of(settings: tuple[Any, ...]) -> Anomalies:
    """Return the sets that settings define."""
    return Anomalies([one for one in settings if isinstance(one, AnomaliesDefined)])


def problems(sets: Sequence[AnomaliesDefined]) -> list[str]:
    """Say what of these sets would be left out, and why; what a command refuses."""
    found: list[str] = []
    for one in sets:
        if one.bars not in SPECS:
            found.append(f"{one.name}: there are no bars {one.bars}; there are {', '.join(SPECS)}")
        for text in one.detectors:
            try:
                _detect(Builder(0, Anomalies.given), 0, one.name, text)
            except ValueError as error:
                found.append(f"{one.name}: {error}")
    if len(sets) > SETS_MAX:
        found.append(f"{len(sets)} sets are over {SETS_MAX}: remove some")
    if not found:
        everywhere = [one.model_copy(update={"instruments": ("*",)}) for one in sets]
        plan = Anomalies(everywhere).plan(tuple(range(len(sets))))
        held = {told.of for watched in plan.watched.values() for told in watched.told}
        if len(held) < len(sets):
            found.append(
                f"all detectors together keep over {WORDS_MAX} numbers, or {HELD_MAX} indicators,"
                " of one instrument: shorten windows, or remove some"
            )
    return found


def _detect(builder: Builder, k: int, of: str, text: str) -> None:
    """Add a detector of the k-th set. Raises ValueError for what is none."""
    name = text.partition("(")[0]
    found = DETECTORS.get(name)
    if found is None:
        raise ValueError(f"there is no detector {name}; there are {', '.join(DETECTORS)}")
    asked = text if name != FLASH_CRASH else text.replace(FLASH_CRASH, "natr", 1)
    indicator, given = indicator_catalog.asked(asked)
    full = indicator.instance(given).replace(indicator.name, name, 1)
    if len(full) > NAME_CHARS_MAX:
        raise ValueError(f"{text} has too many digits")
    if any((told.of, told.detector) == (k, full) for told in builder.told):
        return
    if name == FLASH_CRASH:
        volatility = builder.place(Indicator("natr", given, "natr"))
        numbers = _flash_crash(builder, full, volatility)
    else:
        numbers = {
            field: builder.place(Indicator(name, given, output))
            for field, output in {"score": found.score, **found.evidence}.items()
        }
    bounds = np.array(found.bounds)
    severity = _made(
        builder,
        f"severity of {full}",
        lambda score: severities(score, bounds, found.either),
        (numbers["score"],),
    )
    reach = builder.reaches[numbers["score"]] + 1
    news = builder.tell(f"{of}: {full}", severity)
    builder.told.append(Told(k, full, reach, news, found.bounds[0], numbers))


def severities(score: Values, bounds: Values, either: bool) -> Values:
    """Return codes of Severity (N,) of scores: how many bounds each has reached, 0 for NaN."""
    measured = np.abs(score) if either else score
    found = np.searchsorted(bounds, measured, side="right").astype(np.float64)
    return np.where(np.isnan(score), float(Severity.NONE), found)


def _flash_crash(builder: Builder, name: str, volatility: int) -> dict[str, int]:
    """Add the terms and the score of F-199's flash crash; return their places by field."""
    depth, over = builder.places[DEPTH], builder.places[ASKS_OVER_BIDS]
    terms = {
        "liquidation_points": (_liquidation, (volatility, depth)),
        "imbalance_points": (lambda ratio: _points(ratio, (1.2, 1.5, 2.0)), (over,)),
        "depth_points": (lambda deep: _points(-deep, (-1e6, -5e5, -1e5)), (depth,)),
    }
    numbers = {"volatility": volatility, DEPTH: depth, ASKS_OVER_BIDS: over}
    for field, (function, inputs) in terms.items():
        numbers[field] = _made(builder, f"{name}.{field}", function, inputs)
    parts = (numbers["liquidation_points"], over)
    numbers["cascade"] = _made(builder, f"{name}.cascade", _cascade, parts)
    points = tuple(numbers[field] for field in terms)
    numbers["score"] = _made(builder, f"{name}.score", lambda a, b, c: a + b + c, points)
    return numbers


def _made(builder: Builder, key: str, function: Any, inputs: tuple[int, ...]) -> int:
    if key not in builder.places:
        builder.places[key] = builder.make(function, inputs)
    return builder.places[key]


def _liquidation(volatility: Values, depth: Values) -> Values:
    deep = np.maximum(depth, 0.0) / 1e5
    with np.errstate(all="ignore"):
        points = np.where(deep > 0.0, volatility / deep, np.where(volatility > 0.0, 40.0, 0.0))
    return np.where(np.isnan(volatility + depth), np.nan, np.minimum(points, 40.0))


def _points(number: Values, bounds: tuple[float, float, float]) -> Values:
    """Return 10, 20, 30 for what is above so many of three rising bounds, 0 for none."""
    found = 10.0 * np.searchsorted(np.array(bounds), number, side="left")
    return np.where(np.isnan(number), np.nan, found)


def _cascade(liquidation: Values, over: Values) -> Values:
    return 0.6 * liquidation + np.where(over > 1.5, 40.0, 0.0 * over)
