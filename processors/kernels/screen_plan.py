"""What screens compute of an instrument's bars: conditions as steps in order, each once.

Every screen's signals carry the score, so its indicators are computed wherever there is a screen.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from tidemill.processors.kernels import indicator_catalog, screen_score
from tidemill.processors.kernels.indicator import BAR_INPUTS, Kernel, Values
from tidemill.processors.kernels.indicator_state import SPECS
from tidemill.processors.kernels.screen_arithmetic import BINARY, UNARY
from tidemill.processors.kernels.screen_state import HELD_MAX, STATE, WORDS_MAX
from tidemill.processors.kernels.screen_windows import (
    run_average,
    run_highest,
    run_lowest,
    run_prev,
)
from tidemill.schemas.events.anomalies import AnomaliesDefined
from tidemill.schemas.events.screens import ScreenDefined
from tidemill.schemas.events.selection import selects
from tidemill.schemas.run import Records
from tidemill.schemas.screening import language, tree

SCREENS_MAX = 64
"""Screens that run at once: those whose names come first."""
LOOK_BACK_MAX = 4_000
"""Bars that a condition may look back on, windows within windows added up."""
GIVEN = (*BAR_INPUTS, *language.MARKET_FIELDS)
"""Numbers that steps begin with, in their places."""
_WINDOWS: dict[str, tuple[Kernel, int, int]] = {
    "prev": (run_prev, 2, 0),
    "highest": (run_highest, 3, -1),
    "lowest": (run_lowest, 3, -1),
    "average": (run_average, 3, -1),
}
"""By name: the kernel, its words beside the window itself, and by how much it looks back more than
its length."""


class Kept(NamedTuple):
    """A step with a state: a kernel over `inputs`, places of numbers; its `outputs` of them come
    next. Where the kernel is None: whether the one input is news, as a condition that comes true.
    """

    key: bytes
    kernel: Kernel | None
    parameters: Values
    inputs: tuple[int, ...]
    outputs: int
    words: int
    start: int


class Made(NamedTuple):
    """A step without a state: one number of others."""

    function: Callable[..., Values]
    inputs: tuple[int, ...]


class Scored(NamedTuple):
    """The step of the score: its number comes next, then its terms'; `inputs` are its fields'."""

    inputs: dict[str, int]


class Told(NamedTuple):
    """What a screen says: its place among all screens, how far its condition looks back, and the
    step, counted from 0 among those of screens, that says where it comes true; -1 for the score."""

    screen: int
    reach: int
    rises: int


Step = Kept | Made | Scored


class Watched(NamedTuple):
    """What is computed of bars of one spec. Numbers are in places: those that are given, then what
    steps give, in order."""

    steps: tuple[Step, ...]
    told: tuple[Any, ...]
    """What is told of them, as who defined it has it: of screens Told."""
    score: dict[str, int]
    """Fields of a signal to places, of screens."""


class Plan(NamedTuple):
    """What runs on an instrument, by spec of its bars; `row` is a row of STATE that names it."""

    watched: dict[int, Watched]
    row: Records


Definition = AnomaliesDefined | ScreenDefined


class Watches(ABC):
    """Definitions of LOG that watch bars, read once; `names` in order, which outputs refer to.
    What they compute begins with GIVEN, then `given`."""

    given: tuple[str, ...] = ()

    def __init__(self, defined: Sequence[Definition]) -> None:
        self.defined = tuple(one for one in defined if one.bars in SPECS)
        self.names = tuple(one.name for one in self.defined)
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._of: dict[tuple[bytes, bytes], tuple[int, ...]] = {}

    @abstractmethod
    def add(self, builder: "Builder", k: int) -> None:
        """Add what the k-th definition asks for to what is computed of bars of its spec."""

    def of(self, symbol: bytes, venue: bytes) -> tuple[int, ...]:
        """Return which watch an instrument; instruments of the same have the same plan."""
        found = self._of.get((symbol, venue))
        if found is None:
            found = tuple(
                k
                for k, one in enumerate(self.defined)
                if selects(one.instruments, symbol.decode(), venue.decode())
            )
            self._of[symbol, venue] = found
        return found

    def plan(self, wanted: tuple[int, ...]) -> Plan:
        """Return what these compute, each in order as far as a row holds them."""
        if wanted not in self._plans:
            self._plans[wanted] = self._built(wanted)
        return self._plans[wanted]

    def _built(self, wanted: tuple[int, ...]) -> Plan:
        builders: dict[int, Builder] = {}
        for k in wanted:
            spec = SPECS.index(self.defined[k].bars)
            others = [b for s, b in builders.items() if s != spec]
            builder = builders.get(spec) or Builder(spec, self.given)
            trial = builder.copy()
            self.add(trial, k)
            if sum(b.words for b in (*others, trial)) <= WORDS_MAX and (
                sum(b.held for b in (*others, trial)) <= HELD_MAX
            ):
                builders[spec] = trial
        return _planned(builders)


class Screens(Watches):
    """The screens of LOG."""

    def __init__(self, defined: Sequence[ScreenDefined]) -> None:
        read: list[tuple[ScreenDefined, tree.Node | None]] = []
        for one in defined:
            if one.bars in SPECS and len(read) < SCREENS_MAX:
                try:
                    read.append((one, _checked(one)))
                except ValueError:  # of another version: a command would have refused it
                    continue
        super().__init__([one for one, _ in read])
        self._conditions = [condition for _, condition in read]

    def add(self, builder: "Builder", k: int) -> None:
        """Add a screen. Raises ValueError for what cannot be computed."""
        builder.screen(k, self.defined[k].name, self._conditions[k])


@lru_cache(maxsize=8)
def screens_of(settings: tuple[Any, ...]) -> Screens:
    """Return the screens that settings define."""
    return Screens([one for one in settings if isinstance(one, ScreenDefined)])


def problems(screens: Sequence[ScreenDefined]) -> list[str]:
    """Say what of these screens would be left out, and why; what a command refuses."""
    found: list[str] = []
    for one in screens:
        if one.bars not in SPECS:
            found.append(f"{one.name}: there are no bars {one.bars}; there are {', '.join(SPECS)}")
        try:
            _checked(one)
        except ValueError as error:
            found.append(f"{one.name}: {error}")
    if len(screens) > SCREENS_MAX:
        found.append(f"{len(screens)} screens are over {SCREENS_MAX}: remove some")
    if not found:
        everywhere = [one.model_copy(update={"instruments": ("*",)}) for one in screens]
        plan = Screens(everywhere).plan(tuple(range(len(screens))))
        if sum(len(watched.told) for watched in plan.watched.values()) < len(screens):
            found.append(
                f"all screens together keep over {WORDS_MAX} numbers, or {HELD_MAX} windows and"
                " indicators, of one instrument: shorten windows, or remove screens"
            )
    return found


def _checked(screen: ScreenDefined) -> tree.Node | None:
    """Read its condition, None for the score. Raises ValueError for what cannot be computed."""
    condition = language.parse(screen.condition) if screen.condition else None
    Builder(0).screen(0, screen.name, condition)
    return condition


class Builder:
    """Steps for bars of one spec, from trees; what is there already is used again."""

    def __init__(self, spec: int, given: tuple[str, ...] = ()) -> None:
        self.spec = spec
        self._given = given
        self.steps: list[Step] = []
        self.told: list[Any] = []
        self.words = 0
        self.score: dict[str, int] = {}
        self.places = {name: place for place, name in enumerate((*GIVEN, *given))}
        self.reaches = dict.fromkeys(range(len(self.places)), 1)
        self._next = len(self.places)

    @property
    def held(self) -> int:
        return sum(isinstance(step, Kept) for step in self.steps)

    def copy(self) -> "Builder":
        other = Builder(self.spec, self._given)
        other.steps, other.told, other.words = list(self.steps), list(self.told), self.words
        other.score, other.places = dict(self.score), dict(self.places)
        other.reaches, other._next = dict(self.reaches), self._next
        return other

    def screen(self, screen: int, name: str, condition: tree.Node | None) -> None:
        """Add a screen. Raises ValueError for what cannot be computed."""
        self._scored()
        if condition is None:
            self.told.append(Told(screen, screen_score.REACH, -1))
            return
        place = self.place(condition)
        reach = self.reaches[place] + 1
        if reach > LOOK_BACK_MAX:
            raise ValueError(f"it looks back on {reach} bars; {LOOK_BACK_MAX} are the most")
        self.told.append(Told(screen, reach, self.tell(f"{name}: {condition}", place)))

    def tell(self, key: str, place: int) -> int:
        """Add the step that says where a number becomes news; return how many there were of it."""
        before = sum(isinstance(step, Kept) and step.kernel is None for step in self.steps)
        self.keep(key, None, (), (place,), 0, 2)
        return before

    def place(self, node: tree.Node) -> int:
        """Return the place of a tree's number. Raises ValueError."""
        if isinstance(node, tree.Indicator):
            return self._indicator(node)
        text = str(node)
        if text in self.places:
            return self.places[text]
        match node:
            case tree.Number(value):
                place = self.make(lambda one: np.full(len(one), value), (0,))
                self.reaches[place] = 1
            case tree.Window(function, of, length):
                place = self._window(text, function, self.place(of), length)
            case tree.Cross(function, left, right):
                place = self._cross(function == "crosses_above", left, right)
            case tree.Negative(of):
                place = self.make(UNARY["-"], (self.place(of),))
            case tree.Not(of):
                place = self.make(UNARY["not"], (self.place(of),))
            case tree.Pair(operator, left, right):
                place = self.make(BINARY[operator], (self.place(left), self.place(right)))
            case _:
                raise ValueError(f"{node} is not known")
        self.places[text] = place
        return place

    def _indicator(self, node: tree.Indicator) -> int:
        one = indicator_catalog.INDICATORS.get(node.name)
        if one is None:
            there = ", ".join(
                name
                for name, i in sorted(indicator_catalog.INDICATORS.items())
                if i.source == "bar"
            )
            raise ValueError(f"there is no number or indicator {node.name}; indicators are {there}")
        if one.source != "bar":
            raise ValueError(f"{node.name} is made of quotes: screens look at bars")
        if len(node.parameters) > len(one.parameters):
            raise ValueError(
                f"{node.name} has {len(one.parameters)} parameters, not {len(node.parameters)}"
            )
        names = [parameter.name for parameter in one.parameters]
        given = one.checked(**dict(zip(names, node.parameters, strict=False)))
        if (not node.output and len(one.outputs) > 1) or (
            node.output and node.output not in one.outputs
        ):
            example = f"{one.instance(given)}.{one.outputs[0]}"
            raise ValueError(f"{node} has outputs {', '.join(one.outputs)}: write {example}")
        text = one.instance(given)
        if f"{text}.{one.outputs[0]}" not in self.places:
            inputs = tuple(self.places[name] for name in one.inputs)
            first = self.keep(text, one.run, given, inputs, len(one.outputs), one.words(given))
            for k, output in enumerate(one.outputs):
                self.places[f"{text}.{output}"] = first + k
                self.reaches[first + k] = 1 + (one.warm_up(given) or 0)
        return self.places[f"{text}.{node.output or one.outputs[0]}"]

    def _window(self, text: str, function: str, of: int, length: int) -> int:
        kernel, more, back = _WINDOWS[function]
        place = self.keep(text, kernel, (float(length),), (of,), 1, more + length)
        self.reaches[place] = self.reaches[of] + length + back
        return place

    def _cross(self, above: bool, left: tree.Node, right: tree.Node) -> int:
        """a > b and prev(a) <= prev(b), or the other way round."""
        now = tree.Comparison(">" if above else "<", left, right)
        before = tree.Comparison(
            "<=" if above else ">=", tree.Window("prev", left, 1), tree.Window("prev", right, 1)
        )
        return self.place(tree.And("and", now, before))

    def _scored(self) -> None:
        if self.score:
            return
        fields = {"close": self.places["close"]}
        for name, text in screen_score.MADE_OF.items():
            condition = language.parse(f"{text} > 0")
            fields[name] = self.place(condition.parts[0])
        self.steps.append(Scored(dict(fields)))
        for name in SCORED:
            fields[name] = self._next
            self.reaches[self._next] = screen_score.REACH
            self._next += 1
        self.places["score"] = fields["score"]
        self.score = fields

    def keep(
        self,
        text: str,
        kernel: Kernel | None,
        given: tuple[float, ...],
        inputs: tuple[int, ...],
        outputs: int,
        words: int,
    ) -> int:
        key = blake2b(f"{SPECS[self.spec]}|{text}".encode(), digest_size=16).digest()
        parameters = np.array(given, np.float64)
        self.steps.append(Kept(key, kernel, parameters, inputs, outputs, words, self.words))
        self.words += words
        self._next += outputs
        return self._next - outputs

    def make(self, function: Callable[..., Values], inputs: tuple[int, ...]) -> int:
        self.steps.append(Made(function, inputs))
        self.reaches[self._next] = max(self.reaches[place] for place in inputs)
        self._next += 1
        return self._next - 1


SCORED = (
    *("score", "rsi_points", "macd_points", "average_points", "band_points"),
    "stochastic_points",
)
"""Numbers of the step of the score, in order."""


def _planned(builders: dict[int, Builder]) -> Plan:
    row = np.zeros(1, STATE)[0]
    watched: dict[int, Watched] = {}
    start, whole = 0, blake2b(digest_size=16)
    for spec in sorted(builders):
        builder = builders[spec]
        steps: list[Step] = []
        for step in builder.steps:
            if isinstance(step, Kept):
                moved = step._replace(start=start + step.start)
                held = row["held"][int(row["count"])]
                held["key"] = np.frombuffer(step.key, "<u8")
                held["start"], held["words"] = moved.start, step.words
                row["count"] += 1
                whole.update(step.key)
                steps.append(moved)
            else:
                steps.append(step)
        start += builder.words
        watched[spec] = Watched(tuple(steps), tuple(builder.told), builder.score)
    if builders:
        row["plan"] = np.frombuffer(whole.digest(), "<u8")
    return Plan(watched, row)
