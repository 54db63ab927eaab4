"""Anomalies of bars: which severity is news and what speaks for it; revisions; any cut the same."""

from math import nan
from typing import Any

import numpy as np
import pytest

from tidemill.processors.anomalies import ANOMALIES
from tidemill.processors.kernels.anomaly_plan import DETECTORS, SETS_MAX, problems, severities
from tidemill.processors.kernels.anomaly_run import in_dollars
from tidemill.processors.kernels.indicator import computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS as CATALOG
from tidemill.schemas.enums import BarFlag, BookState, Severity
from tidemill.schemas.events.anomalies import AnomaliesDefined, AnomaliesRemoved
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.kinds.anomaly import EVIDENCE
from tidemill.tests.processors.runs import Log, assert_any_cut_is_the_same, drive, instruments, only
from tidemill.tests.processors.test_indicators import bar, of

UNIT = 1_0000_0000
LATE, GAP = int(BarFlag.LATE), int(BarFlag.GAP)
NONE, LOW, MEDIUM, HIGH, CRITICAL = map(int, Severity)
EVERY = tuple(DETECTORS)
SHORT = ("return_z(20)", "volume_z(5)", "range_z(20)", "pump_and_dump(10)", "flash_crash(5)")


def some(*detectors: str, **more: Any) -> AnomaliesDefined:
    fields = {"name": "a", "instruments": ("*",), "bars": "1m", "detectors": detectors}
    return AnomaliesDefined(**fields | more)


def table() -> Any:
    return instruments(
        {"symbol": b"BTCUSDT", "quote": b"USDT"}, {"symbol": b"ETHBTC", "quote": b"BTC"}
    )


def book(log: Log, slot: int, bids: float, asks: float, state: int = BookState.VALID) -> None:
    """Bids and asks within 1 % of mid, in units of base, at a price of 100."""
    told = KINDS["book_metrics"].empty(1)
    told["at_r"], told["state"] = len(log.facts) + 1, state
    told["bid_quantity"] = told["ask_quantity"] = 1
    for side, quantity in (("bid", bids), ("ask", asks)):
        notional = int(quantity * 100 * UNIT * UNIT)
        told[f"{side}_depth_1_lo"] = notional & (1 << 64) - 1
        told[f"{side}_depth_1_hi"] = notional >> 64
    told["imbalance"] = round((bids - asks) / (bids + asks) * 1e9)
    log.add("book_metrics", told, slot)


def wild(seed: int, count: int = 400) -> Log:
    """Minutes of two instruments: calm, with leaps, spikes of volume, thin books, and revisions."""
    chance = np.random.default_rng(seed)
    log = Log(table())
    close = 100.0
    for minute in range(count):
        slot = int(chance.random() < 0.3)
        leaps = chance.random() < 0.06
        close = max(20.0, close * (1.0 + chance.normal() * (0.15 if leaps else 0.002)))
        volume = int(chance.exponential() * (40 if chance.random() < 0.05 else 1) * UNIT) + UNIT
        wide = int((0.2 if leaps else 0.002) * close * chance.random() * UNIT)
        if chance.random() < 0.3:
            deep = 10.0 ** chance.integers(1, 5)
            book(log, slot, deep * chance.random() + 1, deep * 1.5 * chance.random() + 1)
        told = {"volume_lo": volume, "high": int(close * UNIT) + wide}
        told["low"] = int(close * UNIT) - wide
        bar(log, slot, minute, int(close * UNIT), **told)
        if chance.random() < 0.15:
            again = int(close * (1.2 if chance.random() < 0.3 else 1.001) * UNIT)
            told |= {"revision": 1, "flags": LATE, "volume_lo": volume // 8}
            bar(log, slot, minute, again, **told)
        if chance.random() < 0.03 and minute > 20:
            bar(log, slot, minute - 20, int(close * UNIT), revision=1, flags=LATE)
    return log


def told(log: Log, *detectors: str, **more: Any) -> list[dict[str, Any]]:
    outputs = drive(ANOMALIES, log, settings=of(some(*detectors)), **more)[1]
    return [record for *_, record in outputs]


@pytest.mark.parametrize("seed", range(3))
def test_any_cut_of_bars_and_books_gives_the_same_anomalies(seed: int) -> None:
    settings = of(some(*EVERY), some(*SHORT, name="b", instruments=("BTCUSDT.BINANCE",)))
    log = wild(seed)
    assert_any_cut_is_the_same(ANOMALIES, log, seed, 0.3, settings=settings)
    outputs = drive(ANOMALIES, log, settings=settings)[1]
    detectors = {record["detector"].partition(b"(")[0].decode() for *_, record in outputs}
    assert detectors >= {"return_z", "volume_z", "range_z", "pump_and_dump", "flash_crash"}
    assert {record["severity"] for *_, record in outputs} == {NONE, LOW, MEDIUM, HIGH, CRITICAL}
    for slot in range(2):
        alone = drive(ANOMALIES, only(log, slot), settings=settings)[1]
        assert alone == [output for output in outputs if output[2] == slot]


def judged(name: str, score: float) -> int:
    """The severity of a score, from its documented bounds."""
    if score != score:
        return NONE
    least = {"return_z": 3.0, "volume_z": 3.0, "range_z": 2.5}.get(name)
    if least is not None:
        measured = abs(score) if name == "return_z" else score
        return sum(measured >= least * times for times in (1, 2, 4, 8))
    bounds = (0.97, 0.98, 0.99, 0.995) if name == "half_space_trees" else (50, 60, 70, 80)
    return sum(score >= bound for bound in bounds)


@pytest.mark.parametrize("text", [*SHORT[:4], "half_space_trees(3,30,7)"])
def test_an_anomaly_is_told_where_the_severity_of_the_indicator_rises(text: str) -> None:
    log = wild(7, 600)
    log.facts[:] = [
        fact
        for fact in log.facts
        if fact.slot == 0 and fact.kind == "bar" and not fact.records["revision"][0]
    ]
    name, _, rest = text.partition("(")
    indicator = CATALOG[name]
    given = tuple(map(float, rest.removesuffix(")").split(",")))
    rows = [fact.records[0] for fact in log.facts]
    read = {n: [row[n] / UNIT for row in rows] for n in ("high", "low", "close")}
    read["volume"] = [row["volume_lo"] / UNIT for row in rows]
    made = computed(indicator, given, np.array([read[n] for n in indicator.inputs]))
    scores = made[0].tolist()
    wanted, before = [], NONE
    for k, score in enumerate(scores):
        now = judged(name, score)
        if now > before:
            wanted.append((rows[k]["ts_open"], now, score, *made[1:, k].tolist()))
        before = now
    fields = [field.name for field in EVIDENCE]
    found = [
        (
            one["ts_open"],
            one["severity"],
            one["score"],
            *(one[f] for f in fields if one[f] is not None),
        )
        for one in told(log, text)
    ]
    assert found == wanted
    assert len(wanted) > 5


def test_a_severity_that_stays_or_falls_is_not_told_again() -> None:
    log = Log(table())
    for minute, volume in enumerate([10, 11, 9, 10, 12, 60, 60, 10, 60, 12, 11, 900]):
        bar(log, 0, minute, 100 * UNIT, volume_lo=volume * UNIT)
    found = told(log, "volume_z(5)")
    first = found[0]
    assert (first["ts_open"], first["threshold"]) == (int(log.facts[5].records["ts_open"][0]), 3.0)
    # 9, 10, 11, 12, 60: median 11, the middle distance from it 1
    assert first["score"] == pytest.approx((60 - 11) / 1.482602218505602)
    assert (first["median"], first["deviation"]) == (11.0, pytest.approx(1.482602218505602))
    assert first["severity"] == CRITICAL and first["density"] is None
    assert [one["ts_open"] for one in found] == sorted({one["ts_open"] for one in found})


def test_a_revision_takes_an_anomaly_back_or_tells_it_again() -> None:
    log = Log(table())
    for minute in range(8):
        bar(log, 0, minute, 100 * UNIT, volume_lo=(10 + minute % 3) * UNIT)
    bar(log, 0, 8, 100 * UNIT, volume_lo=90 * UNIT)
    bar(log, 0, 8, 100 * UNIT, volume_lo=17 * UNIT, revision=1, flags=LATE)
    bar(log, 0, 8, 100 * UNIT, volume_lo=11 * UNIT, revision=2)
    bar(log, 0, 8, 100 * UNIT, volume_lo=11 * UNIT, revision=3)
    bar(log, 0, 7, 100 * UNIT, volume_lo=900 * UNIT, revision=1)
    bar(log, 0, 9, 100 * UNIT, volume_lo=90 * UNIT, flags=GAP)
    found = told(log, "volume_z(5)")
    assert [(one["revision"], one["severity"], one["flags"]) for one in found] == [
        (0, CRITICAL, 0),
        (1, LOW, LATE),
        (2, NONE, 0),
        (0, CRITICAL, LATE | GAP),
    ]


def test_a_flash_crash_is_scored_by_volatility_depth_and_imbalance() -> None:
    log = Log(table())
    for minute in range(3):
        bar(log, 0, minute, 100 * UNIT, high=101 * UNIT, low=99 * UNIT)
    book(log, 0, 250.0, 500.0)  # 75,000 dollars, twice as many asks as bids
    bar(log, 0, 3, 100 * UNIT, high=101 * UNIT, low=99 * UNIT)
    book(log, 0, 249.0, 500.0)
    bar(log, 0, 4, 100 * UNIT, high=101 * UNIT, low=99 * UNIT)
    one, two = told(log, "flash_crash(2)")
    points = 2.0 / 0.75  # natr is 2 %
    assert (one["severity"], one["detector"]) == (LOW, b"flash_crash(2)")
    assert one["liquidation_points"] == pytest.approx(points)
    assert (one["imbalance_points"], one["depth_points"]) == (20.0, 30.0)
    assert one["score"] == pytest.approx(points + 50.0)
    assert one["cascade"] == pytest.approx(0.6 * points + 40.0)
    assert (one["volatility"], one["depth"]) == (pytest.approx(2.0), pytest.approx(75_000.0))
    assert one["asks_over_bids"] == pytest.approx(2.0, abs=1e-8)
    assert (two["severity"], two["imbalance_points"]) == (MEDIUM, 30.0)


def test_nothing_is_said_of_a_book_that_is_not_proven_or_not_in_dollars() -> None:
    for slot, state in ((0, BookState.INVALID), (1, BookState.VALID), (0, BookState.VALID)):
        log = Log(table())
        book(log, slot, 1.0, 500.0, state)
        for minute in range(5):
            bar(log, slot, minute, 100 * UNIT)
        assert bool(told(log, "flash_crash(2)")) == ((slot, state) == (0, BookState.VALID))


def test_depth_in_dollars_is_by_what_a_contract_is_worth() -> None:
    of = instruments(
        {"quote": b"USDT"},
        {"quote": b"USDT", "multiplier": 1, "multiplier_exponent": -2},
        {"quote": b"USD", "multiplier": 100, "inverse": 1},
        {"quote": b"BTC"},
        {"quote": b"USDC"},
    )
    depth = np.array([5e6, 5e6, 5e6, 5e6, nan])  # price x quantity
    found = in_dollars(depth, np.full(5, 50_000.0), of).tolist()
    assert found[:3] == [5e6, 5e4, 1e4]
    assert np.isnan(found[3:]).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_severities_are_by_bounds_that_are_reached(name: str) -> None:
    detector = DETECTORS[name]
    bounds = np.array(detector.bounds)
    assert (np.diff(bounds) > 0).all()
    scores = np.concatenate([bounds, np.nextafter(bounds, -np.inf), -bounds, [nan, 0.0]])
    found = severities(scores, bounds, detector.either).tolist()
    assert found == [judged(name, score) for score in scores.tolist()]


def test_a_set_counts_from_its_position_on() -> None:
    log = Log(table())
    for minute in range(20):
        bar(log, 0, minute, 100 * UNIT, volume_lo=(10 + minute % 3) * UNIT)
    bar(log, 0, 20, 100 * UNIT, volume_lo=900 * UNIT)
    whole = some("volume_z(10)")
    for first, heard in ((1, 1), (12, 1), (13, 0)):
        settings = lambda r, first=first: (whole,) if r >= first else ()  # noqa: E731
        assert len(drive(ANOMALIES, log, settings=settings)[1]) == heard
    ended = lambda r: (whole,) if r < 21 else (AnomaliesRemoved(name="a"),)  # noqa: E731
    assert not drive(ANOMALIES, log, settings=ended)[1]


def test_a_set_goes_on_when_another_one_is_defined_before_it() -> None:
    log = Log(table())
    for minute in range(12):
        bar(log, 0, minute, 100 * UNIT, volume_lo=(10 + minute % 3) * UNIT)
    for minute in (12, 13):
        bar(log, 0, minute, 100 * UNIT, volume_lo=900 * UNIT)
    mine, other = some("volume_z(10)", name="b"), some("volume_z(10)", name="a")
    settings = lambda r: (mine,) if r < 14 else (other, mine)  # noqa: E731
    outputs = drive(ANOMALIES, log, settings=settings)[1]
    # What the indicator has seen is one for both; the severity before is each set's own.
    assert [(r, spec) for _, r, _, spec, _ in outputs] == [(13, 0), (14, 0)]
    assert [record["severity"] for *_, record in outputs] == [CRITICAL, CRITICAL]


def test_what_would_not_run_is_refused() -> None:
    assert problems([some(*EVERY), some(*SHORT, name="b")]) == []
    (wrong,) = problems([some("rsi(14)")])
    assert "there is no detector rsi; there are return_z" in wrong
    assert "period is a whole number from 5 to 1440" in problems([some("return_z(2)")])[0]
    assert "period" in problems([some("flash_crash(0)")])[0]
    assert "there are no bars 7m" in problems([some("return_z", bars="7m")])[0]
    many = [some("return_z(5)", name=f"n{k:03d}") for k in range(SETS_MAX + 1)]
    assert "are over" in problems(many)[0]
    (wrong,) = problems([some("return_z(1440)", "volume_z(1440)")])
    assert "shorten windows" in wrong


def test_a_set_of_another_version_says_what_this_one_knows() -> None:
    log = Log(table())
    for minute in range(6):
        bar(log, 0, minute, 100 * UNIT, volume_lo=(10 if minute < 5 else 900) * UNIT)
    found = told(log, "of_tomorrow(3)", "volume_z(5)")
    assert [one["detector"] for one in found] == [b"volume_z(5)"]
