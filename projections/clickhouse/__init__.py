"""Tables in ClickHouse and the sink that fills them exactly once."""
