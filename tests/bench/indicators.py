"""`bench indicators`: every indicator of bars over millions of bars, beside TA-Lib and talipp.

Recomputed: ten arrays of a million bars for each indicator, one kernel call an array, against
TA-Lib's functions called once an array, and talipp given bars one by one (fewer; counted by bar).
CPU seconds of one thread each; those that the other library has. Our last values must be TA-Lib's.

Live: the engine with bars and indicators over 500 instruments' minutes, less the engine with bars
alone: CPU seconds a minute.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.parts.beside import Beside
from tests.bench.rounds import answer, say, summary
from tidemill.processors.activity_bars import ACTIVITY_BARS
from tidemill.processors.bars import BARS
from tidemill.processors.composite_bars import COMPOSITE_BARS
from tidemill.processors.indicators import INDICATORS as RUNNING
from tidemill.processors.kernels.indicator import Values, computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS
from tidemill.processors.resampled_bars import RESAMPLED_BARS
from tidemill.schemas import events, frame
from tidemill.schemas.events.indicators import IndicatorSetDefined
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.schemas.identifiers import PARTITIONS, partition
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.log import Message
from tidemill.streams.runtime.engine import Engine
from tidemill.streams.runtime.graph import Graph

TALIB, TALIPP = "TA-Lib==0.8.2", "talipp==2.7.0,numpy"
INSTRUMENTS, WARM_MINUTES, MINUTES = 500, 70, 5
MINUTE_NS = 60_000_000_000
OF_BARS = [indicator for indicator in INDICATORS.values() if indicator.source == "bar"]
SEEDED_OTHERWISE = {"hma", "supertrend", "force", "stochrsi", "vwma"}
"""What TA-Lib rounds or begins otherwise: compared by speed; tests hold the formulas."""


def bars(count: int) -> dict[str, Values]:
    """Return seeded bars as columns."""
    random = np.random.default_rng(1)
    close = 100 * np.exp(random.normal(0, 5e-4, count).cumsum())
    opened = np.concatenate([[100.0], close[:-1]])
    volume = random.random(count) * 100 + 1
    high = np.maximum(opened, close) * (1 + random.random(count) * 5e-4)
    low = np.minimum(opened, close) * (1 - random.random(count) * 5e-4)
    return {
        "open": opened,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "quote_volume": volume * (high + low) / 2,
        "taker_buy_volume": volume * random.random(count),
        "trade_count": np.ones(count),
        "ts_open": np.arange(count) * 6e10,
    }


def recomputed(columns: dict[str, Values], times: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return CPU seconds of `times` arrays, and the last values, by indicator."""
    used, last = {}, {}
    for indicator in OF_BARS:
        inputs = np.array([columns[name] for name in indicator.inputs])
        began = time.process_time()
        for _ in range(times):
            outputs = computed(indicator, indicator.checked(), inputs)
        used[indicator.name] = time.process_time() - began
        last[indicator.name] = outputs[:, -1].tolist()
    return used, last


def live() -> float:
    """Return the CPU seconds that a minute of every instrument's trades costs a graph of bars and
    indicators, engine and frames included, more than one of bars alone. All but half-space trees
    have values by then."""
    costs = []
    of_bars = [ACTIVITY_BARS, BARS, COMPOSITE_BARS, RESAMPLED_BARS]
    for processors in (of_bars, [*of_bars, RUNNING]):
        engine = Engine(Graph("bench", processors), range(PARTITIONS + 1))
        engine.step([Message(r, *fact) for r, fact in enumerate(_said(), 1)])
        r, used, told = 10_000, 0.0, 0
        for minute in range(WARM_MINUTES + MINUTES):
            messages = [Message(r + k, *fact) for k, fact in enumerate(_minute(minute))]
            r += len(messages)
            began = time.process_time()
            made = engine.step(messages)
            if minute >= WARM_MINUTES:
                used += time.process_time() - began
                told += sum(output.subject.startswith("indicators.1m.") for output in made)
        assert told == (len(processors) - len(of_bars)) * MINUTES * INSTRUMENTS, told
        costs.append(used / MINUTES)
    return costs[1] - costs[0]


def _said() -> list[tuple[str, bytes]]:
    """Return the definitions of the instruments, and the sets."""
    names = [indicator.name for indicator in OF_BARS]
    said = [(subject("instrument", k), events.encode(defined(k))) for k in range(INSTRUMENTS)]
    for k in range(0, len(names), 40):
        some = IndicatorSetDefined(
            name=f"s{k}", instruments=("*",), bars=("1m",), indicators=tuple(names[k : k + 40])
        )
        said.append((f"ctl.indicators.s{k}", events.encode(some)))
    return said


def defined(k: int) -> InstrumentDefined:
    return InstrumentDefined(
        venue="V", symbol=f"I{k}USDT", product="SPOT", base=f"I{k}", quote="USDT"
    )


def subject(kind: str, k: int) -> str:
    return subjects.md(kind, "V", f"I{k}USDT", partition(f"I{k}/USDT"))


def _minute(minute: int) -> list[tuple[str, bytes]]:
    """Return two trades of every instrument in a minute, contiguous: the first closes a bar."""
    facts = []
    for k in range(INSTRUMENTS):
        records = KINDS["trade"].empty(2)
        records["trade_id"] = 2 * minute + np.arange(2) + 1
        ts = minute * MINUTE_NS + np.array([10, 50]) * 1_000_000_000
        records["ts_event"] = records["ts_recv"] = ts
        records["price"] = (100 + k + minute * 7919 % 13 + np.arange(2)) * 10**8
        records["quantity"] = 10**8
        facts.append((subject("trade", k), frame.encode(KINDS["trade"], records, minute, -8, -8)))
    return facts


def equal(ours: dict[str, Any], theirs: dict[str, Any]) -> int:
    """Return how many indicators have TA-Lib's last values, all of those that begin as it does."""
    for name, values in theirs.items():
        if name not in SEEDED_OTHERWISE:
            mine = ours[name][: len(values)]
            assert np.allclose(mine, values[: len(mine)], rtol=1e-9, atol=1e-9), (
                name,
                mine,
                values,
            )
    return len(set(theirs) - SEEDED_OTHERWISE)


def bench(count: int, times: int, few: int, rounds: int) -> None:
    """Alternate the three; print medians."""
    columns = bars(count)
    ratios: dict[str, list[float]] = {"talib": [], "talipp": [], "all": []}
    each: dict[str, list[float]] = {}
    minutes: list[float] = []
    compared = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.npz"
        np.savez(path, allow_pickle=False, **columns)
        talib = Beside(TALIB, "with_talib.py", [str(path), str(times)], Path(folder))
        talipp = Beside(TALIPP, "with_talipp.py", [str(path), str(few)], Path(folder))
        for number in range(rounds + 1):
            used, last = recomputed(columns, times)
            minutes.append(live())
            theirs: Any = talib.round()
            slow: Any = talipp.round()
            if theirs is None or slow is None or not number:
                continue
            compared = equal(last, theirs["last"])
            both = {name: seconds for name, seconds in used.items() if name in theirs["cpu_s"]}
            ratios["talib"].append(sum(theirs["cpu_s"].values()) / sum(both.values()))
            ratios["all"].append(sum(theirs["cpu_s"].values()) / sum(used.values()))
            per_bar = count * times / few
            known = [used[name] for name in slow["cpu_s"]]
            ratios["talipp"].append(sum(slow["cpu_s"].values()) * per_bar / sum(known))
            for name, seconds in both.items():
                each.setdefault(name, []).append(theirs["cpu_s"][name] / seconds)
            say(f"round {number}: {ratios['talib'][-1]:.2f} times as fast as TA-Lib")
        why = [beside.why for beside in (talib, talipp) if beside.why]
        talib.close()
        talipp.close()
    total = sum(used.values())
    answer(
        {
            "vs_talib": summary(ratios["talib"], 2) if ratios["talib"] else None,
            "vs_talipp": summary(ratios["talipp"], 1) if ratios["talipp"] else None,
            "all_ours_vs_what_talib_has": summary(ratios["all"], 2) if ratios["all"] else None,
            "by_indicator": {k: round(summary(v, 2)["median"], 2) for k, v in each.items()},
            "ns_a_bar": {k: round(v / count / times * 1e9, 1) for k, v in used.items()},
            "bars": count * times,
            "indicators": len(OF_BARS),
            "in_talib": len(each),
            "equal_to_talib": compared,
            "bars_per_s_of_all": round(count * times / total),
            "live_percent_of_a_core": round(summary(minutes, 4)["median"] / 60 * 100, 3),
            "live_instruments": INSTRUMENTS,
            **({"why": why} if why else {}),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000, help="of one array")
    parser.add_argument("--times", type=int, default=10, help="arrays")
    parser.add_argument("--talipp-bars", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="accepted; the result is always JSON")
    options = parser.parse_args()
    bench(options.bars, options.times, options.talipp_bars, options.rounds)


if __name__ == "__main__":
    main()
