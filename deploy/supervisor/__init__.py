"""Running processes: ordered start with probes, restart with backoff, and nothing left behind."""
