"""Prometheus gauges that read a running role; labels are bounded, never one an instrument."""

from collections.abc import Callable

from prometheus_client import Gauge

from tidemill.streams.feeds.live import LiveFeed
from tidemill.streams.feeds.role import Feed

POSITION = Gauge("tidemill_position", "Newest LOG sequence that this role has done", ["role"])
LAG = Gauge("tidemill_lag", "What waits: messages of LOG, or bytes of a feed's queue", ["role"])
BEHIND_S = Gauge("tidemill_lag_seconds", "LOG's time that this role is behind", ["role"])
MESSAGES = Gauge("tidemill_messages", "Messages done since start", ["role"])
RETRIES = Gauge("tidemill_retries", "Attempts made again since start", ["role"])
FEED = ["venue", "product"]
CLOCK_OFFSET_S = Gauge("tidemill_feed_clock_offset_seconds", "Venue's clock minus ours", FEED)
LATENCY_S = Gauge(
    "tidemill_feed_latency_seconds", "What messages take more than the fastest of a minute", FEED
)
CONNECTED = Gauge("tidemill_feed_connected", "1 while everything wanted is heard", FEED)
FAILURES = Gauge("tidemill_feed_failures", "Failed connections and requests since start", FEED)
COMMANDS_LEFT = Gauge(
    "tidemill_feed_commands_left",
    "Commands of an hour that the connection with the fewest has; +Inf where there is no limit",
    FEED,
)
DISK_USED = Gauge("tidemill_log_disk_used", "Used part of the log's disk, 0 to 1", ["venue"])


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


def show_feed(running: Feed) -> None:
    """Have the gauges of a venue's feeds read these whenever they are scraped."""
    DISK_USED.labels(running.venue).set_function(lambda: running.disk.used)
    for product in running.products:
        for gauge, read in (
            (CLOCK_OFFSET_S, lambda feed: (feed.intake.clock.offset_ns or 0) / 1e9),
            (LATENCY_S, lambda feed: feed.intake.clock.latency_ns / 1e9),
            (CONNECTED, lambda feed: float(feed.connected)),
            (COMMANDS_LEFT, lambda feed: feed.lines.commands_left),
            (FAILURES, lambda feed: float(feed.failures.total())),
        ):
            gauge.labels(running.venue, product).set_function(_of(running, product, read))


def _of(running: Feed, product: str, read: Callable[[LiveFeed], float]) -> Callable[[], float]:
    """Read a feed, once it runs."""

    def value() -> float:
        return next((read(f) for f in running.feeds if f.venue.product == product), 0.0)

    return value
