"""The report of a backtest: JSON, CSV and a page, all of the same run."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tidemill.deploy.backtesting.page import bars, lines, page
from tidemill.processors.kernels.backtest.outcome import Outcome, fills_of, trips_of
from tidemill.processors.kernels.backtest.ran import Ran
from tidemill.processors.kernels.performance import Trips, gains_of, performance

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Report:
    """What ran (`facts`), one run or stretches of a walk-forward in order, and what else there is
    to say (`more`, JSON)."""

    facts: Mapping[str, Any]
    runs: Sequence[Ran]
    more: Mapping[str, Any]

    def curve(self) -> tuple[Ints, Floats]:
        """Return when (ns) and what the equity was, of all runs one after the other."""
        ts = [one.points["ts"] for one in self.runs]
        return np.concatenate(ts), np.concatenate([one.equity for one in self.runs])

    def write(self, folder: Path) -> list[Path]:
        """Write report.json, equity.csv, trades.csv, fills.csv and report.html; return where."""
        folder.mkdir(parents=True, exist_ok=True)
        trips = [row for one in self.runs for row in trips_of(one)]
        fills = [row for one in self.runs for row in fills_of(one)]
        ts, equity = self.curve()
        texts = {
            "report.json": orjson.dumps(
                {**self.facts, **self.more, "trades": trips, "fills": fills}, option=_OPTIONS
            ).decode(),
            "equity.csv": table(
                [{"ts": t, "equity": e} for t, e in zip(ts.tolist(), equity.tolist(), strict=True)],
                ("ts", "equity"),
            ),
            "trades.csv": table(trips, _TRIP),
            "fills.csv": table(fills, _FILL),
            "report.html": self.page(trips),
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        return [folder / name for name in texts]

    def page(self, trips: Sequence[Mapping[str, Any]]) -> str:
        """Return the page."""
        ts, equity = self.curve()
        below = 100.0 * (equity / np.maximum.accumulate(equity) - 1.0)
        gains = np.concatenate([gains_of(one.trips, one.exponent) for one in self.runs])
        plots = [
            ("Equity", lines(ts, [("equity", "a", equity)])),
            ("Below the peak, in percent", lines(ts, [("fall", "c", below)], filled=True)),
            ("Gain of each trade", bars(gains)),
        ]
        numbers = self.more.get("result") or {}
        windows = [_stretch(one) for one in self.more.get("windows") or []]
        found = self.more.get("sweep") or []
        tables = [("Stretches", windows), ("Search", found), ("Trades", trips)]
        title = f"{self.facts['strategy']} on {', '.join(self.facts['instruments'])}"
        return page(title, self.facts, numbers, plots, tables)


def _stretch(window: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stretch of a walk-forward as a row."""
    of = window["test_result"]
    kept = {name: of[name] for name in ("total_return", "max_drawdown", "trades", "final")}
    begins, ends = window["test"]
    said = {name: value for name, value in window.items() if name.startswith("train_")}
    return {"begin_ts": begins, "end_ts": ends, "parameters": window["parameters"], **said, **kept}


_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
_TRIP = (
    *("instrument", "side", "entry_ts", "exit_ts", "quantity", "entry_price", "exit_price"),
    *("fees", "pnl", "return"),
)
_FILL = (
    *("timestamp", "instrument", "type", "order", "order_type", "liquidity"),
    *("price", "quantity", "fee"),
)


def table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def result_of(runs: Sequence[Ran]) -> dict[str, Any]:
    """Return the numbers of runs one after the other as JSON has them: of a single one, its own."""
    if len(runs) == 1:
        return Outcome.of(runs[0]).plain()
    first, account = runs[0], [one.account[0] for one in runs]
    ts = np.concatenate([one.points["ts"] for one in runs])
    found = performance(
        ts,
        np.concatenate([one.equity for one in runs]),
        float(first.rules.initial),
        first.start - 1,
        first.rules.risk_free,
        None,
        sum(int(one["held"]) for one in account),
        sum(float(run.money(one, "turnover")) for run, one in zip(runs, account, strict=True)),
    )
    fees = [run.money(one, "fees") for run, one in zip(runs, account, strict=True)]
    gains = np.concatenate([gains_of(one.trips, one.exponent) for one in runs])
    outcome = Outcome(
        first.rules.initial,
        runs[-1].final,
        sum(fees, Decimal(0)),
        len(ts),
        sum(len(one.fills) for one in runs),
        sum(int(one["denied"]) for one in account),
        found,
        Trips.of(gains),
    )
    return outcome.plain()
