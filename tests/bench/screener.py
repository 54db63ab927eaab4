"""`bench screener`: one pass over 500 instruments with the sixteen strategies, on new bars.

Every instrument closes a minute; the screener takes all of those bars in one run, as the engine
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
from tidemill.processors.screener import SCREENER
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


def market(count: int, minutes: int) -> tuple[Records, Records]:
    """Return the instruments, and their bars (minutes, count), seeded."""
    table = np.zeros(count, INSTRUMENTS)
    table["symbol"] = [f"I{k}USDT".encode() for k in range(count)]
    table["venue"], table["price_exponent"], table["quantity_exponent"] = b"V", -8, -8
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


def run_of(table: Records, bars: Records, slots: Any) -> Run:
    """Return a run of one bar (N,) of each of `slots`."""
    frames = np.zeros(len(slots), FRAMES)
    frames["start"], frames["count"], frames["slot"] = np.arange(len(slots)), 1, slots
    frames["r"], frames["price_exponent"], frames["quantity_exponent"] = bars["at_r"], -8, -8
    return Run("bar", np.ascontiguousarray(bars), frames, table, settings=SCREENS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=COUNT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    if asked.instruments < 1 or asked.rounds < 5:
        parser.error("at least one instrument, and five rounds")
    table, bars = market(asked.instruments, WARM_MINUTES + asked.rounds)
    slots = np.arange(asked.instruments)
    state = np.zeros(asked.instruments, SCREENER.state)
    for minute in range(WARM_MINUTES):
        SCREENER.step(state, run_of(table, bars[minute], slots))
    alone = state.copy()
    passes, one_by_one, signals, told = [], [], 0, set()
    for minute in range(WARM_MINUTES, WARM_MINUTES + asked.rounds):
        run = run_of(table, bars[minute], slots)
        began = time.perf_counter()
        emits = SCREENER.step(state, run)
        passes.append((time.perf_counter() - began) * 1e3)
        signals += sum(len(emit.records) for emit in emits)
        told |= {emit.names[k] for emit in emits for k in emit.specs.tolist()}
        if minute < WARM_MINUTES + 3:
            began = time.perf_counter()
            for slot in slots:
                one = run_of(table, bars[minute, slot : slot + 1], slots[slot : slot + 1])
                SCREENER.step(alone, one)
            one_by_one.append((time.perf_counter() - began) * 1e3)
            assert alone.tobytes() == state.tobytes(), (
                "a pass is another one instrument by instrument"
            )
    median = float(np.median(passes))
    say(
        f"{asked.instruments} instruments x {len(SCREENS)} strategies and the score, {asked.rounds}"
        f" passes: median {median:.1f} ms (5 % {np.quantile(passes, 0.05):.1f}, 95 %"
        f" {np.quantile(passes, 0.95):.1f}, most {max(passes):.1f}); target {TARGET_MS:.0f} ms."
        f" One instrument at a time: {np.median(one_by_one):.0f} ms. {signals} signals of"
        f" {len(told)} strategies."
    )
    answer(
        {
            "instruments": asked.instruments,
            "strategies": len(SCREENS),
            "median_ms": round(median, 2),
            "p05_ms": round(float(np.quantile(passes, 0.05)), 2),
            "p95_ms": round(float(np.quantile(passes, 0.95)), 2),
            "one_by_one_ms": round(float(np.median(one_by_one)), 1),
            "signals": signals,
            "ok": median < TARGET_MS,
        }
    )


if __name__ == "__main__":
    main()
