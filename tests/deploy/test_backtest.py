"""`tidemill backtest`: published data, searches, walk-forward, checks for bias, reports."""

import csv
import gzip
import json
import re
import sys
import xml.etree.ElementTree as ET
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa  # type: ignore[import-untyped]  # the package ships no types
import pytest
from typer.testing import CliRunner

from tidemill.deploy.backtesting.bias import look_ahead, warm_up
from tidemill.deploy.backtesting.numbers import of_arrow
from tidemill.deploy.backtesting.page import thinned
from tidemill.deploy.backtesting.search import Job, Range, best, grid, scores
from tidemill.deploy.backtesting.sources import Source, read, times
from tidemill.deploy.backtesting.strategies import Chosen
from tidemill.deploy.backtesting.walk_forward import walk_forward
from tidemill.deploy.cli import app
from tidemill.deploy.commands.output import Exit
from tidemill.deploy.load import Load
from tidemill.processors.kernels.backtest.rules import Rules
from tidemill.streams import declarations, scan
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.store import Store
from tidemill.streams.memory import MemoryLog
from tidemill.tests.processors.kernels.klines import DATA, there
from tidemill.tests.processors.kernels.markets import BTC, ETH, MINUTE, walk
from tidemill.tests.streams.archive import logs

OF_FILE = '''
import numpy as np
from tidemill.processors.kernels.indicator_catalog import INDICATORS
from tidemill.processors.kernels.backtest.strategy import Compiled
from tidemill.processors.strategies import Following, Parameter, Strategy


class Dip(Strategy):
    name = "dip"
    parameters = (Parameter("period", 14, 2, 100),)

    def warm_up(self):
        return int(8 * self["period"])

    def on_start(self):
        self.rsi = Following(INDICATORS["rsi"], period=self["period"])

    def on_bar(self, context, bar):
        (value,) = self.rsi(bar)
        if value < 30:
            context.target(bar.instrument, 1.0)
        elif value > 60:
            context.target(bar.instrument, 0.0)


class Clairvoyant(Compiled):
    """Buys before the price rises: it looks one bar ahead."""

    name = "clairvoyant"

    def targets(self, columns):
        rises = np.append(np.diff(columns["close"]) > 0, False)
        return np.where(rises, 1_000_000, 0)


class Normalising(Compiled):
    """Compares with the mean of all closes, of later too."""

    name = "normalising"

    def targets(self, columns):
        return np.where(columns["close"] < columns["close"].mean(), 1_000_000, 0)


class Since(Strategy):
    """Compares with the mean of closes since its data begins, and says it needs no warm-up."""

    name = "since"

    def on_start(self):
        self.total, self.bars = 0.0, 0

    def on_bar(self, context, bar):
        self.total, self.bars = self.total + bar.close, self.bars + 1
        above = bar.close > self.total / self.bars
        context.target(bar.instrument, 1.0 if above else 0.0)
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file with strategies of one's own."""
    path = tmp_path / "own.py"
    path.write_text(OF_FILE)
    return path


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """600 seeded minutes as CSV."""
    market = walk(5, 600)
    path = tmp_path / "bars.csv"
    of = market.bars
    with path.open("w") as file:
        file.write("timestamp,open,high,low,close,volume\n")
        rows = zip(of.ts_open, of.open, of.high, of.low, of.close, strict=True)
        for ts, *prices in rows:
            file.write(f"{ts // 10**6},{','.join(f'{p / 100:.2f}' for p in prices)},1.5\n")
    return path


def job(name: str, **given: float) -> Job:
    return Job(Chosen(name), (walk(5, 600),), Rules(), given)


def run(*arguments: object) -> Any:
    """Run the command; return (exit status, the JSON it printed or {})."""
    told = CliRunner().invoke(app, ["backtest", *map(str, arguments), "--json"])
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    lines = told.stdout.splitlines()
    return told.exit_code, json.loads(lines[-1]) if lines else {}


@pytest.mark.parametrize(
    ("file", "count", "first"),
    [
        ("ohlcv/binance_raw_klines_BTCUSDT_1h_20200430-20200701.json", 1_468, "8819.15"),
        ("ohlcv/Coinbase-BTC-USD-PT4H-20160518_20251028.json.gz", 20_695, "456.16"),
        ("ohlcv/FTX_BTC-PERP_1m_20211231-20220201.csv.gz", 45_031, "46319"),
        ("trades/XRPETH_binance_spot_aggTrades_20191011-20191013.json.gz", 0, "0.00141342"),
        ("trades/ETHUSDT_futures_trades_20230202.csv", 0, "1666.8"),
        ("trades/btcusdt-trades_20210108.parquet", 0, ""),
    ],
)
def test_what_venues_publish_is_read_as_it_is_written(file: str, count: int, first: str) -> None:
    market = read(Source(BTC, there(DATA / file)))
    assert len(market.bars.close) == count if count else market.ts is not None
    found = Decimal(int(market.bars.open[0])).scaleb(market.price_exponent)
    assert not first or found == Decimal(first)


def test_a_time_may_be_iso_or_any_unit_since_the_epoch() -> None:
    ns = 1_588_280_400_000_000_000
    texts = ["1588280400", "1588280400000", "1588280400000000", str(ns)]
    assert [times([text])[0] for text in texts] == [ns] * 4
    assert times(["2020-04-30 21:00:00.000000", "2020-04-30T23:00:00+02:00"]).tolist() == [ns, ns]


def test_decimals_of_arrow_are_exact() -> None:
    texts = ["61837.63", "0.01", "99999.99"]
    column = pa.chunked_array(
        [pa.array([Decimal(t)], pa.decimal128(38, 18)) for t in texts[:1]]
        + [pa.array([Decimal(t) for t in texts[1:]], pa.decimal128(38, 18)).slice(0)]
    )
    found, exponent = of_arrow(column)
    assert (found.tolist(), exponent) == ([6_183_763, 1, 9_999_999], -2)


def test_a_run_prints_its_numbers_and_writes_a_report(bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, told = run("ema_cross", "--symbol", BTC, "--data", bars, "--out", out)
    assert status == Exit.HELD and told["strategy"] == "ema_cross"
    assert told["parameters"] == {"fast": 12, "slow": 26}
    report = orjson.loads((out / "report.json").read_bytes())
    assert report["result"] == told["result"] and report["result"]["trades"] > 5
    trades = list(csv.DictReader((out / "trades.csv").read_text().splitlines()))
    gained = sum((Decimal(row["pnl"]) for row in trades), Decimal(0))
    still = len(report["fills"]) % 2
    assert still or gained == Decimal(told["result"]["final"]) - Decimal(told["result"]["initial"])
    assert len((out / "equity.csv").read_text().splitlines()) == 601


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("rsi", "--symbol", BTC, "--data", bars, "--out", out)
    text = (out / "report.html").read_text()
    assert not re.search(r"(src|href)=|url\(|https?://|@import|<script", text)
    plots = re.findall(r"<svg.*?</svg>", text, re.S)
    assert len(plots) == 3
    for plot in plots:
        tags = {element.tag for element in ET.fromstring(plot).iter()}
        assert tags >= {"text", "line"} and tags & {"polyline", "rect"}


def test_names_in_the_page_are_text(tmp_path: Path) -> None:
    from tidemill.deploy.backtesting.page import page

    text = page("<b>&", {"a": "<script>"}, {}, [], [("t", [{"<i>": "<u>"}])])
    assert not re.search(r"<b>|<script>|<i>|<u>", text)


def test_a_plot_keeps_the_extremes_of_many_points() -> None:
    values = np.sin(np.arange(100_000.0))
    values[77_777], values[33_333] = 9.0, -9.0
    keep = thinned(values)
    assert len(keep) <= 1_502 and {0, 33_333, 77_777, 99_999} <= set(keep.tolist())


def test_a_strategy_may_be_a_file(own: Path, bars: Path) -> None:
    status, told = run(f"{own}:Dip", "--symbol", BTC, "--data", bars, "--set", "period=5")
    assert (status, told["parameters"]) == (Exit.HELD, {"period": 5})
    assert told["result"]["fills"] > 3


@pytest.mark.parametrize(
    "wrong",
    [
        ["nothing", "--symbol", BTC, "--data", "BARS"],
        ["rsi", "--data", "BARS"],
        ["rsi", "--symbol", BTC],
        ["rsi", "--symbol", BTC, "--data", "gone.csv"],
        ["rsi", "--symbol", BTC, "--data", "BARS", "--set", "period=1"],
        ["rsi", "--symbol", BTC, "--data", "BARS", "--set", "length=9"],
        ["rsi", "--symbol", BTC, "--data", "BARS", "--sweep", "period=9:5"],
        ["rsi", "--symbol", BTC, "--data", "BARS", "--sweep", "length=5:9"],
        ["rsi", "--symbol", BTC, "--data", "BARS", "--initial", "much"],
        ["rsi", "--symbol", BTC, "--data", "BARS", "--walk-forward", "700:10"],
        ["OWN", "--symbol", BTC, "--data", "BARS"],
    ],
    ids=lambda wrong: " ".join(wrong[:1] + wrong[-2:]),
)
def test_what_cannot_be_run_says_so_and_ends_with_status_2(
    wrong: list[str], own: Path, bars: Path
) -> None:
    named = [{"BARS": str(bars), "OWN": str(own)}.get(one, one) for one in wrong]
    assert run(*named)[0] == Exit.USAGE


def test_what_is_no_data_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("timestamp,open,high,low,close\n1,2,x,1,1\n")
    assert run("rsi", "--symbol", BTC, "--data", path)[0] == Exit.DID_NOT_HOLD


def test_a_grid_is_in_order_and_the_same_in_one_process_or_two(bars: Path) -> None:
    each = list(grid([Range.parse("fast=5:10:5"), Range.parse("slow=8:20:4")]))
    assert [tuple(one.values()) for one in each][:3] == [(5, 8), (5, 12), (5, 16)]
    alone = scores(job("ema_cross"), each, 1)
    assert [one is None for one in alone] == [False] * 4 + [True] + [False] * 3
    if sys.platform == "linux":
        assert scores(job("ema_cross"), each, 2) == alone
    which = best(each, alone, "total_return")
    assert which is not None
    returns = [one["total_return"] for one in alone if one is not None]
    found = alone[which]
    assert found is not None and found["total_return"] == max(returns)


def test_a_search_runs_the_best_and_lists_the_others(bars: Path) -> None:
    arguments = ("sma_cross", "--symbol", BTC, "--data", bars, "--processes", 1)
    search = ("--sweep", "fast=5:15:5", "--sweep", "slow=20:30:5", "--objective", "total_return")
    status, told = run(*arguments, *search)
    assert status == Exit.HELD and told["searched"] == 9 and len(told["sweep"]) == 9
    top = told["sweep"][0]
    assert top["total_return"] == told["result"]["total_return"]
    assert {k: top[k] for k in ("fast", "slow")} == told["parameters"]
    drawn = ("--random", 5, "--seed", 3, "--objective", "total_return")
    first, again = run(*arguments, *drawn), run(*arguments, *drawn)
    assert first == again and first[1]["searched"] == 5


def test_walk_forward_uses_on_each_stretch_what_was_best_on_the_one_before() -> None:
    each = list(grid([Range.parse("fast=3:9:3"), Range.parse("slow=12:24:6")]))
    whole = job("ema_cross")
    windows = walk_forward(whole, (300, 100), each, "total_return", 1)
    closes = whole.markets[0].bars.ts_close
    assert [one.test for one in windows] == [
        (int(closes[k - 1]), int(closes[k + 99])) for k in (300, 400, 500)
    ]
    for one in windows:
        training = whole.of(*one.train)
        assert len(training.markets[0].bars.close) == 300
        numbers = scores(training, each, 1)
        which = best(each, numbers, "total_return")
        assert which is not None and each[which] == one.given
        assert len(one.ran.points) == 100
        assert all(one.test[0] < ts <= one.test[1] for ts, *_ in one.ran.decisions)
    assert windows[0].ran.rules.initial == 10_000
    assert windows[1].ran.rules.initial == windows[0].ran.final


def test_walk_forward_of_the_command_is_one_equity(bars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    search = ("--sweep", "period=5:15:5", "--walk-forward", "200:150", "--processes", 1)
    status, told = run("rsi", "--symbol", BTC, "--data", bars, *search, "--out", out)
    assert status == Exit.HELD and len(told["windows"]) == 3
    rows = list(csv.DictReader((out / "equity.csv").read_text().splitlines()))
    assert len(rows) == 400 == told["result"]["bars"]
    assert float(rows[-1]["equity"]) == pytest.approx(float(told["result"]["final"]))


def test_a_portfolio_is_one_account(bars: Path) -> None:
    two = ("--symbol", BTC, "--symbol", ETH, "--data", bars, "--data", bars)
    status, told = run("rsi", *two)
    assert status == Exit.HELD and told["instruments"] == [BTC, ETH]
    assert told["result"]["bars"] == 1_200 and told["result"]["fills"] % 2 == 0


@pytest.mark.parametrize("name", ["rsi", "macd", "bollinger", "ema_cross", "sma_cross"])
def test_the_built_in_strategies_look_neither_ahead_nor_too_far_back(name: str) -> None:
    assert look_ahead(job(name), 12).held
    found = warm_up(job(name), 5)
    assert found.held, found.shown
    assert found.decisions > 4


@pytest.mark.parametrize("cheat", ["Clairvoyant", "Normalising"])
def test_one_that_looks_ahead_is_caught(cheat: str, own: Path, bars: Path) -> None:
    assert not look_ahead(job(f"{own}:{cheat}"), 12).held
    arguments = (f"{own}:{cheat}", "--symbol", BTC, "--data", bars, "--look-ahead")
    status, told = run(*arguments, "--points", 12)
    assert status == Exit.DID_NOT_HOLD and told["look_ahead"]["differing"] > 0


def test_one_that_depends_on_where_its_data_begins_is_caught(own: Path, bars: Path) -> None:
    both = ("--symbol", BTC, "--data", bars, "--look-ahead", "--warm-up")
    status, told = run(f"{own}:Since", *both)
    assert status == Exit.DID_NOT_HOLD
    assert told["look_ahead"]["held"] and not told["warm_up"]["held"]
    assert run(f"{own}:Dip", *both)[0] == Exit.HELD


def test_trades_make_bars_and_fill_orders(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    rows = [
        {"timestamp": 1_600_000_000_000 + k * 700, "price": f"{100 + p:.1f}", "amount": "0.5"}
        for k, p in enumerate(random.normal(0, 0.3, 40_000).cumsum().round(1).tolist())
        if 100 + p > 1
    ]
    path = tmp_path / "trades.json.gz"
    path.write_bytes(gzip.compress(orjson.dumps(rows)))
    market = read(Source(BTC, path, interval="1m"))
    assert market.ts is not None and market.bars.ts_open[0] % MINUTE == 0
    arguments = ("rsi", "--symbol", BTC, "--data", path, "--interval", "1m", "--latency-ms", 50)
    status, told = run(*arguments)
    assert status == Exit.HELD and told["fills_against"] == "trades"
    assert told["result"]["fills"] > 3


async def test_the_archive_s_trades_are_read_exactly(tmp_path: Path) -> None:
    log = MemoryLog("LOG", declarations.LOG_SUBJECTS)
    load = Load(3, 1_000_000, per_frame=500)
    await logs.append(log, [*load.opening(), *(m for batch in load.facts(20_000) for m in batch)])
    await Archiver(log, Store.at(str(tmp_path)), Limits(segment_messages_max=20)).seal(log.end)
    market = read(Source("BTCUSDT.LOAD", archive=str(tmp_path), interval="1s"))
    table = scan("trade", ["BTCUSDT.LOAD"], archive=tmp_path)
    assert market.price is not None and len(market.price) == table.num_rows > 1_000
    exact = [Decimal(price).scaleb(market.price_exponent) for price in market.price.tolist()]
    assert sorted(exact) == sorted(table.column("price").to_pylist())
    assert read(Source("BTCUSDT.LOAD", archive=str(tmp_path))).bars.close[-1] == market.price[-1]
    with pytest.raises(ValueError, match="nothing of"):
        read(Source("NOUSDT.LOAD", archive=str(tmp_path)))
