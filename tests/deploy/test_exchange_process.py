"""The exchange as a process of its own: how it starts, says that it is ready, and stops."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

pytestmark = pytest.mark.integration


@contextmanager
def exchange(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A running venue on a free port, and the line it printed; killed at the end."""
    command = [sys.executable, "-m", "tidemill.deploy.exchange", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def trades(ws: str, count: int) -> list[dict[str, Any]]:
    with connect(f"{ws}/ws/btcusdt@trade", compression=None, close_timeout=0.1) as socket:
        return [json.loads(socket.recv(timeout=20)) for _ in range(count)]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_serves_and_stops_cleanly(how: signal.Signals):
    with exchange("--symbols", "BTCUSDT,ETHUSDT", "--rate", "200") as (process, ready):
        assert ready["ready"] is True
        assert ready["ws"] == f"ws://127.0.0.1:{ready['port']}"
        info = httpx2.get(f"{ready['rest']}/api/v3/exchangeInfo").json()
        assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        assert httpx2.get(f"{ready['rest']}/sim/state").json()["venue"] == "BINANCE"
        with connect(f"{ready['ws']}/ws/btcusdt@trade", compression=None) as socket:
            socket.recv(timeout=10)
            os.kill(process.pid, how)
            assert process.wait(10) == 0


def test_two_processes_with_one_seed_trade_the_same_and_another_seed_otherwise():
    seen = []
    for seed in ("7", "7", "8"):
        with exchange("--symbols", "BTCUSDT", "--rate", "0", "--seed", seed) as (_, ready):
            seen.append([(t["t"], t["p"], t["q"], t["m"]) for t in trades(ready["ws"], 2_000)])
    assert seen[0] == seen[1] != seen[2]
    assert seen[0][0][0] == 1


def test_two_venues_of_one_seed_have_close_but_different_prices():
    both = ("--symbols", "BTCUSDT", "--rate", "500")
    with exchange(*both) as (_, one), exchange(*both, "--venue", "BINANCE_US") as (_, two):
        prices = [[float(t["p"]) for t in trades(venue["ws"], 300)] for venue in (one, two)]
    assert prices[0] != prices[1]
    assert abs(sum(prices[0]) / sum(prices[1]) - 1) < 2e-3


def test_a_symbol_that_cannot_be_is_a_usage_error():
    command = [sys.executable, "-m", "tidemill.deploy.exchange", "--symbols", "btc-usdt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "btc-usdt" in done.stderr and done.stdout == ""
