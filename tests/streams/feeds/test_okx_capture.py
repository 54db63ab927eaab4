"""The real capture of OKX (2022: books with checksums and without ids) is read to exactly its own.

The book and the checksum here are the test's own: dictionaries, and zlib's CRC-32.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tidemill.schemas.decimals import text_of
from tidemill.schemas.enums import OrderSide
from tidemill.streams.feeds.capture import rest_message
from tidemill.streams.feeds.feed import UNCHAINED, BookMessages, Instruments, Said
from tidemill.streams.feeds.okx import Okx

CAPTURES = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "captures_cryptofeed"
TRADES = {"BTC-USDT": 69, "UNI-USD-SWAP": 1, "BTC-USD-220527": 4}
TICKERS = {"BTC-USDT": 25, "UNI-USD-SWAP": 1, "BTC-USD-220527": 2}
BOOKS = {"BTC-USDT": 98, "UNI-USD-SWAP": 93, "BTC-USD-220527": 99}
PRODUCTS = [("SPOT", "BTC-USDT"), ("SWAP", "UNI-USD-SWAP"), ("FUTURES", "BTC-USD-220527")]


def captured() -> Iterator[tuple[int, bytes]]:
    """Yield (receive time in ns, raw message) as the recorder heard them; the last definitions."""
    if not (CAPTURES / "OKX.0.gz").exists():
        pytest.skip(f"no captures at {CAPTURES}: set TIDEMILL_DATA")
    answers = {}
    for line in gzip.decompress((CAPTURES / "OKX.0.gz").read_bytes()).splitlines():
        head, _, body = line.partition(b": {")
        url, arrow, time = head.decode().partition(" -> ")
        if arrow and "instruments" in url:
            answers[url.removeprefix("https://www.okx.com")] = (_ns(time), b"{" + body)
    for path, (at, body) in answers.items():
        yield at, rest_message(path, body)
    for line in gzip.decompress((CAPTURES / "OKX.ws.1.0.gz").read_bytes()).splitlines():
        time, _, raw = line.partition(b": ")
        if not time.startswith(b"wss:"):
            yield _ns(time.decode()), raw.strip()


def _ns(seconds: str) -> int:
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 10**9 + int(f"{fraction:0<9}"[:9])


def decoded(product: str) -> tuple[Said, Instruments]:
    """Decode the capture as a feed of one product, with its own definitions."""
    received, raws = zip(*captured(), strict=True)
    instruments = Instruments()
    return Okx(product).decode(received, raws, instruments), instruments


@pytest.mark.parametrize(("product", "symbol"), PRODUCTS)
def test_every_record_of_the_capture_is_read(product, symbol):
    said, instruments = decoded(product)
    index = instruments.by_symbol[symbol].index
    assert not said.malformed and not said.refused
    assert said.trades is not None and said.quotes is not None and said.books is not None
    assert len(said.trades.records) == TRADES[symbol]
    assert len(said.quotes.records) == TICKERS[symbol]
    assert len(said.books.messages) == BOOKS[symbol]
    for owners in (said.trades.owners, said.quotes.owners, said.books.owners):
        assert set(owners.tolist()) == {index}
    others = sum(n for counts in (TRADES, TICKERS, BOOKS) for s, n in counts.items() if s != symbol)
    assert said.ignored == others, "the other products' messages"


@pytest.mark.parametrize(("product", "symbol"), PRODUCTS)
def test_trade_ids_of_the_capture_count_up_by_one(product, symbol):
    said, _ = decoded(product)
    assert said.trades is not None and said.firsts is not None
    ids = said.trades.records["trade_id"].astype(np.int64)
    assert (np.diff(ids) == 1).all() and (said.firsts == ids).all()


@pytest.mark.parametrize(("product", "symbol"), PRODUCTS)
def test_every_checksum_of_the_capture_is_right(product, symbol):
    said, instruments = decoded(product)
    assert said.books is not None
    messages = said.books.messages
    assert messages["snapshot"].tolist() == [1] + [0] * (BOOKS[symbol] - 1)
    assert set(messages["previous_id"][1:].tolist()) == {UNCHAINED}
    assert (np.diff(messages["last_id"]) > 0).all(), "times are ids that rise"
    computed = list(checksums(said.books, *instruments.by_symbol[symbol].exponents))
    assert computed == messages["checksum"].tolist()


def checksums(books: BookMessages, price_exponent: int, quantity_exponent: int) -> Iterator[int]:
    """Yield the checksum of the book after each message, as OKX described it."""
    sides: dict[int, dict[int, int]] = {OrderSide.BUY: {}, OrderSide.SELL: {}}
    for message in books.messages:
        if message["snapshot"]:
            sides = {OrderSide.BUY: {}, OrderSide.SELL: {}}
        start = int(message["start"])
        for price, quantity, side in books.levels[start : start + int(message["count"])].tolist():
            sides[side].pop(price, None)
            if quantity:
                sides[side][price] = quantity
        best = [
            [
                f"{_text(price, price_exponent)}:{_text(sides[side][price], quantity_exponent)}"
                for price in sorted(sides[side], reverse=side == OrderSide.BUY)[:25]
            ]
            for side in (OrderSide.BUY, OrderSide.SELL)
        ]
        in_turn = [side[level] for level in range(25) for side in best if level < len(side)]
        crc = zlib.crc32(":".join(in_turn).encode())
        yield crc - (1 << 32) if crc >= 1 << 31 else crc


def _text(mantissa: int, exponent: int) -> str:
    """A number as OKX writes it: without zeros at its end."""
    text = text_of(mantissa, exponent)
    return text.rstrip("0").rstrip(".") if "." in text else text
