"""Names, and the partitions of pairs, which hold for ever: published and committed vectors."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.schemas.identifiers import (
    ALL,
    PARTITIONS,
    InstrumentId,
    fnv1a_32,
    pair,
    partition,
    partition_token,
)

# Computed with another implementation (Perl); never edited, only added to.
PARTITION_VECTORS = json.loads((Path(__file__).parent / "partitions.json").read_text())
# From the test suite of FNV's authors (http://www.isthe.com/chongo/src/fnv/test_fnv.c).
FNV_VECTORS = {
    b"": 0x811C9DC5,
    b"a": 0xE40C292C,
    b"b": 0xE70C2DE5,
    b"fo": 0x6222E842,
    b"foo": 0xA9F37ED7,
    b"foob": 0x3F5076EF,
    b"foobar": 0xBF9CF968,
}
ASSET = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=24)


@pytest.mark.parametrize(("data", "value"), FNV_VECTORS.items())
def test_fnv1a_gives_the_published_values(data: bytes, value: int) -> None:
    assert fnv1a_32(data) == value


@pytest.mark.parametrize(("name", "number"), PARTITION_VECTORS.items())
def test_a_pair_stays_in_its_partition(name: str, number: int) -> None:
    assert partition(name) == number


def test_there_are_64_partitions_and_this_never_changes() -> None:
    assert PARTITIONS == 64
    assert partition_token(0) == "00"
    assert partition_token(63) == "63"
    assert partition_token(ALL) == "all"


@given(ASSET, ASSET)
def test_every_pair_has_a_partition_of_the_64(base: str, quote: str) -> None:
    assert 0 <= partition(pair(base, quote)) < 64


@pytest.mark.parametrize("text", ["BTCUSDT.BINANCE", "BTCUSDT-PERP.BINANCE", "XBT/USD.KRAKEN"])
def test_an_instrument_id_is_read_and_written_as_nautilus_does(text: str) -> None:
    assert str(InstrumentId.parse(text)) == text
    assert InstrumentId.parse("BTCUSDT-PERP.BINANCE") == ("BTCUSDT-PERP", "BINANCE")


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "BTCUSDT", "BTCUSDT.", ".BINANCE", "btcusdt.BINANCE", "BTC USDT.BINANCE",
        "BTC*.BINANCE", "BTC>.BINANCE", "A.B.BINANCE", "BTCUSDT.BINANCE\n", "-A.BINANCE",
        "A" * 49 + ".BINANCE", "BTCUSDT." + "V" * 17, "\u0410.BINANCE",
    ],
)  # fmt: skip
def test_what_cannot_stand_in_a_subject_is_no_instrument_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"instrument id|no name|characters"):
        InstrumentId.parse(text)


@pytest.mark.parametrize(("base", "quote"), [("", "USDT"), ("btc", "USDT"), ("BTC", "US/DT")])
def test_an_asset_is_capital_letters_and_digits(base: str, quote: str) -> None:
    with pytest.raises(ValueError, match="no asset"):
        pair(base, quote)
