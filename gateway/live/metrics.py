"""Prometheus metrics of the live server; no label names a client or an instrument."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.process_collector import ProcessCollector


class Metrics:
    """One server's own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self.clients = Gauge("live_clients", "Clients connected.", registry=self.registry)
        self.updates = counter("live_updates", "Updates that somebody took.", "channel")
        self.messages = counter("live_messages", "Messages sent to clients.")
        self.bytes = counter("live_bytes", "Bytes of them.")
        self.dropped = counter("live_dropped", "Updates dropped for slow clients, and told.")
        self.conflated = counter("live_conflated", "Updates replaced by later ones.")
        self.gaps = counter("live_gaps", "Times that this server missed something itself.")
        self.refused = counter("live_refused", "Clients and messages refused.", "reason")

    def render(self) -> bytes:
        """Return them as Prometheus reads them."""
        return generate_latest(self.registry)
