"""Prometheus gauges that read a running role; labels are bounded, never one an instrument."""

from collections.abc import Callable

from prometheus_client import Gauge

POSITION = Gauge("tidemill_position", "Newest LOG sequence that this role has done", ["role"])
LAG = Gauge("tidemill_lag", "What waits: messages of LOG, or bytes of a feed's queue", ["role"])
MESSAGES = Gauge("tidemill_messages", "Messages done since start", ["role"])
RETRIES = Gauge("tidemill_retries", "Attempts made again since start", ["role"])


def show(
    role: str,
    position: Callable[[], float],
    lag: Callable[[], float],
    messages: Callable[[], float],
    retries: Callable[[], float],
) -> None:
    """Have the gauges of `role` read these whenever they are scraped."""
    for gauge, read in (
        (POSITION, position),
        (LAG, lag),
        (MESSAGES, messages),
        (RETRIES, retries),
    ):
        gauge.labels(role).set_function(read)
