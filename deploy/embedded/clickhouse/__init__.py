"""ClickHouse without a server: the engine of the chdb wheel behind ClickHouse's HTTP interface."""
