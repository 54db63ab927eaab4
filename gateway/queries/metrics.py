"""Prometheus metrics of the queries server; labels are few: route template, method, status."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

UNKNOWN = "(none)"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)


class Metrics:
    """One server's own registry (F-265)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("route", "method", "status")
        self._requests = Counter(
            "http_requests", "Requests answered.", labels, registry=self.registry
        )
        self._duration = Histogram(
            "http_request_duration_ms",
            "Time to answer, in milliseconds.",
            ("route",),
            buckets=_BUCKETS_MS,
            registry=self.registry,
        )
        self._errors = Counter(
            "errors", "Answers with status 500 or more.", ("route",), registry=self.registry
        )
        self.active = Gauge(
            "active_connections", "Requests being answered.", registry=self.registry
        )
        self.cache = Counter(
            "cache", "Answers looked for in the cache.", ("outcome",), registry=self.registry
        )

    def answered(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count one answer. `route` is the template, never the path."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(route, known, str(status)).inc()
        self._duration.labels(route).observe(duration_s * 1_000)
        if status >= 500:
            self._errors.labels(route).inc()

    def render(self) -> bytes:
        """Return them as Prometheus reads them."""
        return generate_latest(self.registry)
