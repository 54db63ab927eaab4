"""Indicators against what others published: TA-Lib's, StockCharts' and Skender's results."""

import csv
import gzip

import numpy as np
import orjson
import pytest

from tidemill.processors.kernels.indicator import Values, computed
from tidemill.processors.kernels.indicator_catalog import INDICATORS
from tidemill.tests.processors.kernels.klines import PUBLISHED, hours, published, there


def outputs_of(name: str, columns: dict[str, Values], **given: float) -> dict[str, Values]:
    """Return an indicator's outputs by name over columns by (lower case) name."""
    indicator = INDICATORS[name]
    low = {head.lower(): values for head, values in columns.items()}
    count = len(next(iter(low.values())))
    inputs = np.array([low.get(head, np.zeros(count)) for head in indicator.inputs])
    made = computed(indicator, indicator.checked(**given), inputs)
    return dict(zip(indicator.outputs, made, strict=True))


TALIB = {
    "SMA20": ("sma", "sma"),
    "EMA20": ("ema", "ema"),
    "RSI14": ("rsi", "rsi"),
    "MACD": ("macd", "macd"),
    "MACD_SIGNAL": ("macd", "signal"),
    "MACD_HIST": ("macd", "histogram"),
    "BB_U": ("bollinger", "upper"),
    "BB_M": ("bollinger", "middle"),
    "BB_L": ("bollinger", "lower"),
}


@pytest.mark.parametrize("column", TALIB)
def test_talib_on_real_klines_to_1e_9(column: str) -> None:
    path = there(PUBLISHED / "talib_BTCUSDT_1h_first500.csv")
    with path.open(newline="") as file:
        theirs = np.array([float(row[column] or "nan") for row in csv.DictReader(file)])
    name, output = TALIB[column]
    ours = outputs_of(name, hours())[output][: len(theirs)]
    known = ~np.isnan(theirs)
    assert known.sum() > 450
    np.testing.assert_allclose(ours[known], theirs[known], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("table", "name", "given", "columns", "digits"),
    [
        ("accum", "adl", {}, {"adl": "ADLine"}, 4),
        (
            "bbands",
            "bollinger",
            {},
            {
                "upper": "HighBand",
                "middle": "MiddleBand",
                "lower": "LowBand",
                "percent_b": "PercentageBand",
                "bandwidth": "WidthBand",
            },
            6,
        ),
        ("cci", "cci", {}, {"cci": "CCI"}, 4),
        ("dc", "donchian", {}, {"upper": "upper_band", "lower": "lower_band"}, 4),
        ("easeofmovement", "eom", {}, {"eom": "SMA_EMV"}, 8),
        ("fi", "force", {"period": 1}, {"force": "FI_1"}, 9),
        ("kama", "kama", {}, {"kama": "KAMA"}, 6),
        ("mfi", "mfi", {}, {"mfi": "MFI"}, 5),
        ("percentr", "williams_r", {}, {"williams_r": "Williams_%R"}, 6),
        ("roc", "roc", {"period": 12}, {"roc": "ROC"}, 7),
        ("soo", "stochastic", {"k_smoothing": 1}, {"k": "SO", "d": "SO_SIG"}, 6),
        ("ultosc", "ultimate", {}, {"ultimate": "Ult_Osc"}, 6),
        ("wma", "wma", {"period": 9}, {"wma": "WMA"}, 4),
    ],
)
def test_stockcharts_to_its_printed_digits(
    table: str, name: str, given: dict[str, float], columns: dict[str, str], digits: int
) -> None:
    theirs = published(table)
    ours = outputs_of(name, theirs, **given)
    for output, column in columns.items():
        known = ~np.isnan(ours[output]) & ~np.isnan(theirs[column]) & (theirs[column] != 0)
        assert known.sum() >= 2
        worst = np.abs(ours[output] - theirs[column])[known].max()
        assert worst < 10.0**-digits, (output, worst)


def test_on_balance_volume_is_stockcharts() -> None:
    """Whose first record tells no volume; ours begins with it, as TA-Lib does."""
    theirs = published("obv")
    columns = {"close": theirs["Close"], "volume": np.nan_to_num(theirs["Volume"])}
    np.testing.assert_array_equal(outputs_of("obv", columns)["obv"][1:], theirs["OBV"][1:])


def test_parabolic_stops_are_stockcharts_from_the_first_turn_on() -> None:
    """Until then each begins as its own seed says; ours with the first record, as TA-Lib does."""
    theirs = published("psar")
    line = np.where(np.isnan(theirs["psar_up"]), theirs["psar_down"], theirs["psar_up"])
    turned = int(np.argmax(~np.isnan(theirs["psar_up"])))
    ours = outputs_of("psar", theirs)["psar"]
    assert len(line) - turned > 20
    np.testing.assert_allclose(ours[turned:], line[turned:], rtol=0, atol=1e-8)


def test_directional_movement_is_stockcharts_once_the_seed_is_forgotten() -> None:
    """Its first sums are of fourteen records, Wilder's and TA-Lib's of thirteen."""
    theirs = published("adx")
    ours = outputs_of("adx", theirs)
    for output, column in (("adx", "ADX"), ("plus_di", "+DI14"), ("minus_di", "-DI14")):
        np.testing.assert_allclose(ours[output][-200:], theirs[column][-200:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["sma", "ema", "rsi", "macd"])
def test_skender_to_its_last_digits(name: str) -> None:
    with there(PUBLISHED / "skender_quotes_default.csv").open(newline="") as file:
        close = np.array([float(row["close"]) for row in csv.DictReader(file)])
    path = there(PUBLISHED / "skender_results_subset.json.gz")
    theirs = orjson.loads(gzip.decompress(path.read_bytes()))[f"{name}.standard.json"]
    ours = outputs_of(name, {"close": close})
    forgotten = 250 if name == "macd" else 0  # its fast average begins with its own first values
    for output, values in ours.items():
        found = np.array([row.get(output) for row in theirs], np.float64)
        known = ~np.isnan(found) & ~np.isnan(values)
        known[:forgotten] = False
        assert known.sum() > 200
        np.testing.assert_allclose(values[known], found[known], rtol=1e-10, atol=1e-10)
