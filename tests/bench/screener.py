"""`bench screener`: one pass over 500 instruments with the sixteen strategies, on new bars; and one
with every detector of anomalies.

Every instrument closes a minute; a processor takes all of those bars in one run, as the engine
hands them to it: indicators, windows, conditions and the score, and the signals that come of them.
Every indicator and window has a value by then, but for the highest price of 364 bars, which is kept
as it is when it has one. Median and spread of the passes, and what the same costs when bars come
one instrument at a time.
"""

import argparse
import time
from typing import Any

import numpy as np

from tests.bench.rounds import answer, say
from tidemill.processors.anomalies import ANOMALIES
from tidemill.processors.kernels.anomaly_plan import DETECTORS
from tidemill.processors.processor import Processor
from tidemill.processors.screener import SCREENER
from tidemill.schemas.events.anomalies import AnomaliesDefined
from tidemill.schemas.events.event import Event
from tidemill.schemas.events.screens import ScreenDefined
from tidemill.schemas.kinds.bar import BAR
from tidemill.schemas.run import FRAMES, INSTRUMENTS, Records, Run
from tidemill.schemas.screening.strategies import STRATEGIES

COUNT, WARM_MINUTES, ROUNDS = 500, 400, 50
TARGET_MS = 100.0
MINUTE_NS = 60_000_000_000
SCREENS = tuple(
    ScreenDefined(name=name, instruments=("*",), bars="1m", condition=strategy.condition)
    for name, strategy in sorted(STRATEGIES.items())
)
WATCH = (AnomaliesDefined(name="all", instruments=("*",), bars="1m", detectors=tuple(DETECTORS)),)


def market(count: int, minutes: int) -> tuple[Records, Records]:
    """Return the instruments, and their bars (minutes, count), seeded."""
    table = np.zeros(count, INSTRUMENTS)
    table["symbol"] = [f"I{k}USDT".encode() for k in range(count)]
    table["venue"], table["price_exponent"], table["quantity_exponent"] = b"V", -8, -8
    table["quote"], table["multiplier"] = b"USDT", 1
    random = np.random.default_rng(1)
    closes = 1e10 * np.exp(random.normal(0, 2e-3, (minutes, count)).cumsum(axis=0))
    opens = np.concatenate([np.full((1, count), 1e10), closes[:-1]])
    opens *= np.exp(random.normal(0, 5e-4, opens.shape))
    bars = BAR.empty(minutes * count).reshape(minutes, count)
    bars["at_r"] = np.arange(1, minutes + 1)[:, np.newaxis]
    bars["ts_open"] = (np.arange(minutes) * MINUTE_NS)[:, np.newaxis]
    bars["interval_s"], bars["trade_count"] = 60, 50
    bars["open"], bars["close"] = opens, closes
    bars["high"] = np.maximum(opens, closes) * (1 + random.random(opens.shape) * 5e-4)
    bars["low"] = np.minimum(opens, closes) * (1 - random.random(opens.shape) * 5e-4)
    bars["volume_lo"] = random.lognormal(23, 0.8, opens.shape)
    bars["quote_volume_lo"] = 100 * bars["volume_lo"]
    bars["taker_buy_volume_lo"] = bars["volume_lo"] // 2
    return table, bars


def run_of(table: Records, bars: Records, slots: Any, settings: tuple[Event, ...]) -> Run:
    """Return a run of one bar (N,) of each of `slots`."""
    frames = np.zeros(len(slots), FRAMES)
    frames["start"], frames["count"], frames["slot"] = np.arange(len(slots)), 1, slots
    frames["r"], frames["price_exponent"], frames["quantity_exponent"] = bars["at_r"], -8, -8
    return Run("bar", np.ascontiguousarray(bars), frames, table, settings=settings)


def measured(
    processor: Processor, settings: tuple[Event, ...], table: Records, bars: Records
) -> dict[str, Any]:
    """Take all bars (minutes, count); return the times of those after the first WARM_MINUTES."""
    slots = np.arange(len(table))
    state = np.zeros(len(table), processor.state)
    for minute in range(WARM_MINUTES):
        processor.step(state, run_of(table, bars[minute], slots, settings))
    alone = state.copy()
    passes, one_by_one, outputs = [], [], 0
    for minute in range(WARM_MINUTES, len(bars)):
        run = run_of(table, bars[minute], slots, settings)
        began = time.perf_counter()
        emits = processor.step(state, run)
        passes.append((time.perf_counter() - began) * 1e3)
        outputs += sum(len(emit.records) for emit in emits)
        if minute < WARM_MINUTES + 3:
            began = time.perf_counter()
            for slot in slots:
                one = bars[minute, slot : slot + 1]
                processor.step(alone, run_of(table, one, slots[slot : slot + 1], settings))
            one_by_one.append((time.perf_counter() - began) * 1e3)
            assert alone.tobytes() == state.tobytes(), (
                "a pass is another one instrument by instrument"
            )
    return {
        "median_ms": round(float(np.median(passes)), 2),
        "p05_ms": round(float(np.quantile(passes, 0.05)), 2),
        "p95_ms": round(float(np.quantile(passes, 0.95)), 2),
        "one_by_one_ms": round(float(np.median(one_by_one)), 1),
        "outputs": outputs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=COUNT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    if asked.instruments < 1 or asked.rounds < 5:
        parser.error("at least one instrument, and five rounds")
    table, bars = market(asked.instruments, WARM_MINUTES + asked.rounds)
    found = {}
    for what, processor, settings in (
        (f"{len(SCREENS)} strategies and the score", SCREENER, SCREENS),
        (f"{len(DETECTORS)} detectors of anomalies", ANOMALIES, WATCH),
    ):
        found[processor.name] = one = measured(processor, settings, table, bars)
        say(
            f"{asked.instruments} instruments x {what}, {asked.rounds} passes: median"
            f" {one['median_ms']:.1f} ms (5 % {one['p05_ms']:.1f}, 95 % {one['p95_ms']:.1f});"
            f" target {TARGET_MS:.0f} ms. One instrument at a time: {one['one_by_one_ms']:.0f} ms."
            f" {one['outputs']} outputs."
        )
    ok = all(one["median_ms"] < TARGET_MS for one in found.values())
    answer({"instruments": asked.instruments, **found, "ok": ok})


if __name__ == "__main__":
    main()
