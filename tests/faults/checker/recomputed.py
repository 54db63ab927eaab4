"""I3, I4, I10: what LOG says must be derived, against what OUT has."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import isclose
from typing import Any, NamedTuple

from tidemill.tests.faults.checker.activity_bars import ActivityBars
from tidemill.tests.faults.checker.anomalies import Anomalies
from tidemill.tests.faults.checker.arbitrage import Arbitrage
from tidemill.tests.faults.checker.bars import Bars
from tidemill.tests.faults.checker.books import Books
from tidemill.tests.faults.checker.checkpoints import Progress
from tidemill.tests.faults.checker.composite_bars import CompositeBars
from tidemill.tests.faults.checker.derivatives import Derivatives
from tidemill.tests.faults.checker.indicators import Indicators
from tidemill.tests.faults.checker.messages import DERIVED, Message, parse, processor_of
from tidemill.tests.faults.checker.prices import PRICE, QUANTITY, Prices, Stale
from tidemill.tests.faults.checker.resampled_bars import ResampledBars
from tidemill.tests.faults.checker.sbe import KINDS, Frame
from tidemill.tests.faults.checker.screens import Screens
from tidemill.tests.faults.checker.spool import Derived
from tidemill.tests.faults.checker.verdicts import Verdicts
from tidemill.tests.faults.checker.world import Letter, Made, World

OF_PAIRS = ("price", "opportunity")
OF_BARS = ("anomaly", "indicator", "signal")
CLOSE = 1e-9
"""How far apart, in parts of themselves, numbers of 64 bits may be that were computed apart."""
Position = tuple[str, int, int, int]
"""Processor, r, i, n."""


class Row(NamedTuple):
    """One derived record: its subject and exponents, and its values in the order of its kind."""

    subject: str
    exponents: tuple[int, int]
    values: tuple[Any, ...]

    def differs(self, other: "Row", kind: str) -> tuple[str, str]:
        """Say where two rows differ first, by the two values."""
        if self[:2] != other[:2]:
            return str(self[:2]), str(other[:2])
        for name, mine, theirs in zip(names_of(kind), self.values, other.values, strict=True):
            near = isinstance(mine, float) and isclose(mine, theirs, rel_tol=CLOSE, abs_tol=CLOSE)
            if mine != theirs and not near and (mine == mine or theirs == theirs):
                return f"{name} {mine}", f"{name} {theirs}"
        return "", ""


def names_of(kind: str) -> tuple[str, ...]:
    """The fields of a kind, in order."""
    if kind == "feed":
        return ("venue", "product", "ts", "silent_ns", "state")
    return KINDS[kind].newest.names or ()


class Recomputed:
    """Every processor, computed again message by message.

    `expected` (by position) and `letters` collect what must be in OUT of the messages so far.
    """

    def __init__(self) -> None:
        self.world = World()
        self.expected: dict[Position, tuple[str, Row]] = {}
        self.letters: list[Letter] = []
        self._bars, self._prices = Bars(self.world), Prices(self.world)
        self._activity_bars = ActivityBars(self.world)
        self._resampled_bars = ResampledBars(self.world)
        self._composite_bars = CompositeBars(self.world)
        self.indicators, self.screens = Indicators(self.world), Screens(self.world)
        self.anomalies = Anomalies(self.world)
        self._books, self._stale = Books(self.world), Stale()
        self._derivatives, self._arbitrage = Derivatives(self.world), Arbitrage(self.world)

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Processors of which LOG asks more than is computed here."""
        judged = {
            "anomalies": self.anomalies.judged,
            "indicators": self.indicators.judged,
            "screener": self.screens.judged,
        }
        return tuple(name for name, known in judged.items() if not known)

    def take(self, message: Message, frame: Frame | None, event: Mapping[str, Any] | None) -> None:
        """Step one message of LOG, as it was decoded."""
        fact = self.world.take(message, frame, event, self.letters)
        if fact is None:
            return
        books = self._books.step(fact, self.letters)
        bars = [
            *self._bars.step(fact, self.letters),
            *self._activity_bars.step(fact, self.letters),
        ]
        longer = self._resampled_bars.step(fact, bars, self.letters)
        bars += [*self._composite_bars.step(fact, bars, self.letters), *longer]
        contracts = self._derivatives.step(fact)
        made = [
            *books,
            *self._arbitrage.step(fact, books),
            *bars,
            *self.indicators.step(fact.r, bars),
            *self.screens.step(fact.r, [*bars, *books, *contracts]),
            *self.anomalies.step(fact.r, [*bars, *books]),
            *self._prices.step(fact),
            *self._stale.step(fact),
            *contracts,
        ]
        ordinals: Counter[tuple[str, int, int]] = Counter()
        for one in made:
            self._number(one, ordinals)

    def _number(self, one: Made, ordinals: "Counter[tuple[str, int, int]]") -> None:
        root, spec, venue, symbol, partition = one.name
        _, processor, place = DERIVED[root]
        group = (one.kind, one.i, partition)
        n = partition << 24 | place << 20 | ordinals[group]
        ordinals[group] += 1
        last = "all" if partition == 64 else f"{partition:02d}"
        subject = f"{root}.{spec}.{venue}.{symbol}.{last}"
        if one.kind == "feed":
            exponents, values = (0, 0), tuple(one.values.values())
        else:
            exponents = (0, 0) if one.kind in OF_BARS else (PRICE, QUANTITY)
            if one.kind not in (*OF_PAIRS, *OF_BARS):
                slot = self.world.slots[venue, symbol]
                exponents = self.world.instruments[slot].exponents
            dtype = KINDS[one.kind].newest
            all_values = {"at_r": one.r, "at_i": one.i, "n": n, **one.values}
            values = tuple(
                all_values.get(name, b"" if dtype[name].kind == "S" else 0)
                for name in dtype.names or ()
            )
        row = Row(subject, exponents, values)
        self.expected[processor, one.r, one.i, n] = (one.kind, row)


def found_in(derived: Iterable[Derived]) -> tuple[dict[Position, Any], list[Position], list[Any]]:
    """OUT's rows by position, the positions that came again, and its dead letters."""
    rows: dict[Position, tuple[str, Row]] = {}
    again: list[Position] = []
    letters: list[tuple[int, Letter]] = []
    for one in derived:
        processor, _ = processor_of(one.subject)
        if one.kind == "dlq":
            assert one.event is not None
            subject = parse(one.subject)
            assert subject is not None
            at = (one.event["at_r"], one.event["at_i"])
            letters.append((one.sequence, Letter(processor, *at, subject.partition)))
            continue
        for position, row in _rows(one, processor):
            if position in rows:
                again.append(position)
            else:
                rows[position] = (one.kind, row)
    return rows, again, letters


def _rows(one: Derived, processor: str) -> list[tuple[Position, Row]]:
    if one.records is not None:
        return [
            ((processor, *values[:3]), Row(one.subject, one.exponents, values))
            for values in one.records.tolist()
        ]
    assert one.event is not None
    position = (processor, one.event["at_r"], one.event["at_i"], one.event["n"])
    values = tuple(one.event[name] for name in names_of(one.kind))
    return [(position, Row(one.subject, (0, 0), values))]


def compare(
    expected: dict[Position, tuple[str, Row]],
    letters: Iterable[Letter],
    derived: Iterable[Derived],
    progress: Progress,
    verdicts: Verdicts,
    unjudged: tuple[str, ...] = (),
) -> None:
    """Judge what OUT has of a range of roots by what LOG says that it must have; what processors
    `unjudged` made only by its positions."""
    rows, again, found_letters = found_in(derived)
    expected = {at: one for at, one in expected.items() if at[0] not in unjudged}
    for position in again:
        verdicts.broken("I4", where(position), "one record", "the same position again")
    for position, (kind, row) in rows.items():
        verdicts.held("I4")
        if not progress.covers(position[0], position[3] >> 24, position[1:], row.subject):
            done = progress.of(position[0], position[3] >> 24)
            verdicts.broken("I4", where(position), f"none beyond {done}", kind)
        elif position not in expected and position[0] not in unjudged:
            verdicts.broken("I3", where(position), "nothing", f"{kind} {row}")
    for position, (kind, row) in expected.items():
        if not progress.covers(position[0], position[3] >> 24, position[1:], row.subject):
            continue
        verdicts.held("I3")
        if position not in rows:
            verdicts.broken("I3", where(position), f"{kind} {row}", "nothing")
        elif rows[position][1] != row:
            differing = row.differs(rows[position][1], kind)
            if differing != ("", ""):
                verdicts.broken("I3", f"{where(position)} ({row.subject})", *differing)
    _compare_letters(letters, found_letters, progress, verdicts)


def _compare_letters(
    letters: Iterable[Letter],
    found: list[tuple[int, Letter]],
    progress: Progress,
    verdicts: Verdicts,
) -> None:
    there: Counter[Letter] = Counter()
    wanted = Counter(o for o in letters if o.r <= progress.of(o.processor, o.partition))
    for _, letter in found:
        done = progress.of(letter.processor, letter.partition)
        if letter.r <= done:
            there[letter] += 1
        else:
            place = f"dead letter of {letter.processor} at ({letter.r}, {letter.i})"
            verdicts.broken("I4", place, f"none beyond {done}", "one")
    verdicts.held("I10", len(wanted | there))
    for letter in sorted(wanted | there):
        if wanted[letter] != there[letter]:
            place = f"dead letters of {letter.processor} at ({letter.r}, {letter.i})"
            verdicts.broken("I10", place, wanted[letter], there[letter])


def where(position: Position) -> str:
    """Name a position for people."""
    processor, r, i, n = position
    return f"OUT {processor} (r={r}, i={i}, n={n >> 24}:{n >> 20 & 15}:{n & (1 << 20) - 1})"
