"""The checker's own detectors of anomalies say what the engine's do."""

from decimal import Decimal
from math import nan
from typing import Any

import pytest

from tidemill.processors.anomalies import ANOMALIES
from tidemill.schemas.events.anomalies import AnomaliesDefined, AnomaliesRemoved
from tidemill.tests.faults.checker.anomalies import SCORED, Anomalies
from tidemill.tests.faults.checker.recomputed import Row as Told
from tidemill.tests.faults.checker.recomputed import names_of
from tidemill.tests.faults.checker.world import Instrument, Made, World
from tidemill.tests.processors.runs import drive
from tidemill.tests.processors.test_anomalies import SHORT, some, wild
from tidemill.tests.processors.test_indicators import of

SETS = (some(*SHORT), some("return_z", "volume_z(6)", "volume_z(6)", name="b"))


def recomputed(
    log: Any, sets: tuple[AnomaliesDefined, ...], at: Any = lambda r, one: True
) -> tuple[Anomalies, list[Made]]:
    world = World()
    for slot, row in enumerate(log.table):
        symbol, quote = row["symbol"].decode(), row["quote"].decode()
        one = Instrument(slot, "BINANCE", symbol, "SPOT", f"A/{quote}", (-8, -8))
        one.multiplier = Decimal(1)
        world.instruments.append(one)
        world.slots["BINANCE", symbol] = slot
    named = {one.name: one.model_dump() for one in sets}
    own, made = Anomalies(world), []
    for r, fact in enumerate(log.facts, 1):
        world.anomaly_sets = {name: one for name, one in named.items() if at(r, name)}
        record = fact.records[0]
        values = {name: record[name].item() for name in record.dtype.names}
        symbol = world.instruments[fact.slot].symbol
        name = ("bars" if fact.kind == "bar" else "books", "1m", "BINANCE", symbol, 7)
        made += own.step(r, [Made(fact.kind, name, r, 0, values)])
    return own, made


@pytest.mark.parametrize("seed", range(3))
def test_the_checker_computes_the_same_anomalies(seed: int) -> None:
    log = wild(seed)
    own, made = recomputed(log, SETS)
    assert own.judged
    outputs = drive(ANOMALIES, log, settings=of(*SETS))[1]
    assert len(outputs) == len(made) > 100
    assert {one.values["detector"].partition(b"(")[0].decode() for one in made} == set(SCORED)
    for (_, r, slot, spec, record), one in zip(outputs, made, strict=True):
        named = ("ab"[spec], ("BTCUSDT", "ETHBTC")[slot])
        assert (r, *named) == (one.r, one.name[1], one.name[3])
        wanted = {"at_r": r, "at_i": 0, "n": 0, "sequence": 0} | one.values
        rows = [
            Told(
                "",
                (0, 0),
                tuple(nan if of[name] is None else of[name] for name in names_of("anomaly")),
            )
            for of in (wanted, record)
        ]
        assert rows[0].differs(rows[1], "anomaly") == ("", ""), (r, spec)


def test_detectors_that_ended_begin_anew_when_they_are_defined_again() -> None:
    log = wild(2, 200)

    def at(r: int, name: str) -> bool:
        return not 120 <= r < 140 and (name == "a" or r >= 60)

    def settings(r: int) -> tuple[Any, ...]:
        return tuple(one if at(r, one.name) else AnomaliesRemoved(name=one.name) for one in SETS)

    own, made = recomputed(log, SETS, at)
    outputs = drive(ANOMALIES, log, settings=settings)[1]
    told = [(r, slot, record["detector"]) for _, r, slot, _, record in outputs]
    slots = ("BTCUSDT", "ETHBTC")
    assert told == [(one.r, slots.index(one.name[3]), one.values["detector"]) for one in made]
    assert own.judged and max(r for r, *_ in told) > 160


def test_a_detector_that_the_checker_does_not_know_is_not_judged() -> None:
    own, made = recomputed(wild(1, 50), (some("half_space_trees"),))
    assert not own.judged and not made
