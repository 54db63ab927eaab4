-- migrate:up
CREATE TABLE IF NOT EXISTS bars__v1 (
    _r UInt64 CODEC(Delta, LZ4),
    _i UInt32 CODEC(Delta, LZ4),
    _n UInt32,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    interval_s UInt32,
    ts_open DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    revision UInt32,
    open Decimal(38, 18),
    high Decimal(38, 18),
    low Decimal(38, 18),
    close Decimal(38, 18),
    volume Decimal(38, 18),
    quote_volume Decimal(38, 18),
    taker_buy_volume Decimal(38, 18),
    trade_count UInt64,
    first_trade_id UInt64 CODEC(Delta, LZ4),
    last_trade_id UInt64 CODEC(Delta, LZ4),
    flags UInt16,
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_open)
ORDER BY (symbol, venue, interval_s, ts_open, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS bars__v1;
