"""The role feeds: which subscriptions a process of it runs, from the settings."""

import pytest

from tidemill.deploy.roles.feeds import chosen
from tidemill.deploy.settings import FeedSettings, Missing


def configured(venue: str, product: str, *symbols: str, connections: int = 1) -> FeedSettings:
    return FeedSettings(
        venue=venue,
        product=product,
        symbols=symbols,
        websocket=f"ws://{product}",
        rest=f"http://{product}",
        connections=connections,
    )


FEEDS = [
    configured("BINANCE", "SPOT", "BTCUSDT", connections=2),
    configured("BINANCE_US", "SPOT", "BTCUSDT"),
    configured("BINANCE", "USDM", "BTCUSDT-PERP"),
]


def test_a_venue_runs_every_product_that_is_configured():
    binance = chosen(FEEDS, ["BINANCE"])["BINANCE"]
    assert [(s.venue.product, s.symbols, s.connections) for s in binance] == [
        ("SPOT", ("BTCUSDT",), 2),
        ("USDM", ("BTCUSDT-PERP",), 1),
    ]
    assert binance[1].endpoints == ("ws://USDM", "http://USDM")


def test_without_names_every_venue_is_run():
    assert {v: len(s) for v, s in chosen(FEEDS, ()).items()} == {"BINANCE": 2, "BINANCE_US": 1}


def test_what_is_not_configured_is_said():
    with pytest.raises(
        Missing, match=r"no feed of OKX is configured; there are BINANCE, BINANCE_US"
    ):
        chosen(FEEDS, ["OKX"])


def test_a_product_that_is_not_known_is_said():
    with pytest.raises(ValueError, match="BINANCE FX"):
        chosen([configured("BINANCE", "FX", "BTCUSDT")], ())
