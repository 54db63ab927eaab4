"""Bar types: NautilusTrader's long names, our short specs, their lengths."""

import pytest

from tidemill.schemas.bar_type import (
    ACTIVITY_SPECS,
    BUILT_SPECS,
    INTERVALS_S,
    SPEC_OF_INTERVAL_S,
    SPECS,
    BarType,
)
from tidemill.schemas.identifiers import InstrumentId

BTC = InstrumentId("BTCUSDT", "BINANCE")


@pytest.mark.parametrize(
    ("text", "bar_type", "interval_s"),
    [
        ("BTCUSDT.BINANCE-1-SECOND-LAST-INTERNAL", BarType(BTC, "1s"), 1),
        ("BTCUSDT.BINANCE-1-MINUTE-LAST-INTERNAL", BarType(BTC, "1m"), 60),
        ("BTCUSDT.BINANCE-15-MINUTE-LAST-EXTERNAL", BarType(BTC, "15m", external=True), 900),
        ("BTCUSDT.BINANCE-12-HOUR-LAST-INTERNAL", BarType(BTC, "12h"), 43_200),
        ("BTCUSDT.BINANCE-3-DAY-LAST-INTERNAL", BarType(BTC, "3d"), 259_200),
        ("BTCUSDT.BINANCE-1-WEEK-LAST-INTERNAL", BarType(BTC, "1w"), 604_800),
        ("BTCUSDT.BINANCE-1-MONTH-LAST-INTERNAL", BarType(BTC, "1M"), None),
        (
            "BTCUSDT-PERP.BINANCE-4-HOUR-LAST-INTERNAL",
            BarType(InstrumentId("BTCUSDT-PERP", "BINANCE"), "4h"),
            14_400,
        ),
        ("BTCUSDT.BINANCE-1000-TICK-LAST-INTERNAL", BarType(BTC, "tick", False, "1000"), None),
        ("BTCUSDT.BINANCE-1-TICK-LAST-INTERNAL", BarType(BTC, "tick", step="1"), None),
        ("BTCUSDT.BINANCE-0.05-VOLUME-LAST-INTERNAL", BarType(BTC, "volume", step="0.05"), None),
        (
            "BTCUSDT.BINANCE-500-VALUE_IMBALANCE-LAST-INTERNAL",
            BarType(BTC, "value_imbalance", step="500"),
            None,
        ),
    ],
)
def test_a_bar_type_is_read_and_written_as_nautilus_does(
    text: str, bar_type: BarType, interval_s: int | None
) -> None:
    assert BarType.parse(text) == bar_type
    assert str(bar_type) == text
    assert bar_type.interval_s == interval_s


@pytest.mark.parametrize("spec", SPECS)
def test_every_spec_survives_its_long_name(spec: str) -> None:
    assert BarType.parse(str(BarType(BTC, spec))).spec == spec


@pytest.mark.parametrize("spec", ACTIVITY_SPECS)
def test_every_aggregation_survives_its_long_name(spec: str) -> None:
    one = BarType(BTC, spec, step="20")
    assert BarType.parse(str(one)) == one
    assert one.interval_s is None


@pytest.mark.parametrize(
    "text",
    [
        "", "1m", "BTCUSDT.BINANCE", "BTCUSDT.BINANCE-7-MINUTE-LAST-INTERNAL",
        "BTCUSDT.BINANCE-1-MINUTE-BID-INTERNAL", "BTCUSDT.BINANCE-01-MINUTE-LAST-INTERNAL",
        "BTCUSDT.BINANCE-1-minute-LAST-INTERNAL", "BTCUSDT.BINANCE-1-MINUTE-LAST-INTERNAL\n",
        "BTCUSDT-1-MINUTE-LAST-INTERNAL", "BTCUSDT.BINANCE-0-TICK-LAST-INTERNAL",
        "BTCUSDT.BINANCE-1.5-TICK-LAST-INTERNAL", "BTCUSDT.BINANCE-1.-RENKO-LAST-INTERNAL",
        "BTCUSDT.BINANCE-1.50-RENKO-LAST-INTERNAL", "BTCUSDT.BINANCE-0.0-RENKO-LAST-INTERNAL",
        "BTCUSDT.BINANCE-010-RENKO-LAST-INTERNAL", "BTCUSDT.BINANCE-2.5-TICK_RUNS-LAST-INTERNAL",
        "BTCUSDT.BINANCE-1-tick-LAST-INTERNAL", "BTCUSDT.BINANCE-1-KAGI-LAST-INTERNAL",
    ],
)  # fmt: skip
def test_another_form_or_length_is_no_bar_type(text: str) -> None:
    with pytest.raises(ValueError, match=r"bar type|instrument id"):
        BarType.parse(text)


def test_specs_and_lengths_name_each_other() -> None:
    assert {SPEC_OF_INTERVAL_S[INTERVALS_S[spec]] for spec in BUILT_SPECS} == set(BUILT_SPECS)
    assert [INTERVALS_S[spec] for spec in SPECS[:-1]] == sorted(INTERVALS_S.values())
    assert set(SPECS) - INTERVALS_S.keys() == {"1M"}
    assert INTERVALS_S["1d"] == 86_400
