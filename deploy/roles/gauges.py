"""Prometheus gauges that read a running role; labels are bounded, never one an instrument."""

from collections.abc import Callable

from prometheus_client import Gauge

POSITION = Gauge("tidemill_position", "Newest LOG sequence that this role has done", ["role"])
LAG = Gauge("tidemill_lag", "What waits: messages of LOG, or bytes of a feed's queue", ["role"])
BEHIND_S = Gauge("tidemill_lag_seconds", "LOG's time that this role is behind", ["role"])
MESSAGES = Gauge("tidemill_messages", "Messages done since start", ["role"])
RETRIES = Gauge("tidemill_retries", "Attempts made again since start", ["role"])


def show(
    role: str,
    position: Callable[[], float],
    lag: Callable[[], float],
    messages: Callable[[], float],
    retries: Callable[[], float],
    behind_s: Callable[[], float] | None = None,
) -> None:
    """Have the gauges of `role` read these whenever they are scraped."""
    for gauge, read in (
        (POSITION, position),
        (LAG, lag),
        (MESSAGES, messages),
        (RETRIES, retries),
    ):
        gauge.labels(role).set_function(read)
    if behind_s is not None:
        BEHIND_S.labels(role).set_function(behind_s)
