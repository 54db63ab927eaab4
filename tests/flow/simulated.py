"""Captures of the simulated exchange: two venues over a UTC midnight, with what goes wrong in life.

Markets are advanced by hand and stamped with made-up times, so a seed decides every byte. Some
trades are lost, some come late or twice, and one venue falls silent: holes are declared and filled,
bars are revised, feeds go stale.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson

from tidemill.deploy.exchange import binance_messages as messages
from tidemill.deploy.exchange.market import Market
from tidemill.deploy.exchange.symbols import symbol_of
from tidemill.deploy.exchange.venues import OUTLOOKS
from tidemill.streams.feeds.capture import line_of, rest_message

MIDNIGHT_US = 1_723_161_600_000_000
"""2024-08-09, UTC."""
BEFORE_S, AFTER_S = 40, 40
RATES = {"BTCUSDT": 60.0, "ETHUSDT": 30.0, "SOLUSDT": 15.0}
"""Trades and quotes a second of BINANCE; BINANCE_US has half of it."""
SHARE = {"BINANCE": 1.0, "BINANCE_US": 0.5}
STEP_US = 20_000
SILENT_S = {"BINANCE": (0, 0), "BINANCE_US": (8, 28)}
"""When a venue is not heard, in seconds after midnight."""
LOST, LATE, TWICE = 0.004, 0.004, 0.004
"""Shares of trades."""

FILLED = (
    "trades", "quotes", "bars", "prices", "times", "instruments",
    "latest_trades", "latest_quotes", "latest_bars", "latest_prices",
)  # fmt: skip
"""Tables that trades and quotes of spot alone fill."""

Line = tuple[int, bytes]


def write(directory: Path, venue: str, seed: int = 5) -> Path:
    """Write the capture of one venue and return its path."""
    path = directory / f"{venue.lower()}.capture"
    random = Random(f"{seed} {venue}")
    lines = [_definitions()]
    for symbol in RATES:
        lines += _rough(_lines(symbol, venue, seed, random), venue, random)
    lines.sort(key=lambda line: line[0])  # stable: what one symbol said stays in order
    path.write_bytes(b"".join(line_of(*line) for line in lines))
    return path


def _definitions() -> Line:
    entries = [messages.exchange_symbol(symbol_of(name)) for name in RATES]
    body = orjson.dumps({"symbols": entries})
    start_us = MIDNIGHT_US - BEFORE_S * 1_000_000
    return start_us * 1_000, rest_message("/api/v3/exchangeInfo", body)


def _lines(symbol: str, venue: str, seed: int, random: Random) -> Iterator[Line]:
    """What a symbol's market says, received some milliseconds after it happened."""
    rate = RATES[symbol] * SHARE[venue]
    it = Market(
        symbol_of(symbol), venue=venue, seed=seed, rate=rate, outlook=OUTLOOKS[venue],
        trades_kept=1_000,
    )  # fmt: skip
    received_us = 0
    for step in range((BEFORE_S + AFTER_S) * 1_000_000 // STEP_US):
        now_us = MIDNIGHT_US - BEFORE_S * 1_000_000 + step * STEP_US
        happened = it.advance(int(step * STEP_US * rate / 1e6), now_us)
        trades, sent = happened.trades.tolist(), 0
        said = []
        for quote in happened.quotes.tolist():
            said += [
                ("trade", messages.trade(it.symbol, t, 1_000)) for t in trades[sent : quote[5]]
            ]
            said.append(("bookTicker", messages.book_ticker(it.symbol, quote, now_us, 1_000)))
            sent = quote[5]
        said += [("trade", messages.trade(it.symbol, t, 1_000)) for t in trades[sent:]]
        for channel, text in said:
            received_us = max(received_us + 1, now_us + random.randrange(2_000, 30_000))
            raw = f'{{"stream":"{symbol.lower()}@{channel}","data":{text}}}'
            yield received_us * 1_000, raw.encode()


def _rough(lines: Iterator[Line], venue: str, random: Random) -> Iterator[Line]:
    """Lose, delay and repeat some trades; say nothing while the venue is silent."""
    silent_from, silent_to = (MIDNIGHT_US * 1_000 + s * 10**9 for s in SILENT_S[venue])
    for received, raw in lines:
        if silent_from <= received < silent_to:
            continue
        chance = random.random() if b"@trade" in raw else 1.0
        if chance < LOST:
            continue
        late = LOST <= chance < LOST + LATE
        yield received + (random.randrange(50, 1_500) * 10**6 if late else 0), raw
        if LOST + LATE <= chance < LOST + LATE + TWICE:
            yield received + random.randrange(1, 900) * 10**6, raw
