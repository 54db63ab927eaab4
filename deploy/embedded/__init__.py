"""The real servers, run on this machine from wheels: NATS, Postgres, Valkey, ClickHouse."""
