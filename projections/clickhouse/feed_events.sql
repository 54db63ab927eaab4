-- migrate:up
CREATE TABLE IF NOT EXISTS feed_events__v1 (
    _r UInt64 CODEC(Delta, LZ4),
    _i UInt32 CODEC(Delta, LZ4),
    _n UInt32,
    event LowCardinality(String),
    symbol LowCardinality(String),
    venue LowCardinality(String),
    product LowCardinality(String),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    reason LowCardinality(String),
    expected LowCardinality(String),
    received LowCardinality(String),
    first_id Int64,
    last_id Int64,
    ts_from Nullable(DateTime64(9, 'UTC')),
    ts_to Nullable(DateTime64(9, 'UTC')),
    offset_ns Int64,
    latency_ns Int64,
    detail LowCardinality(String),
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts_recv)
ORDER BY (venue, symbol, event, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS feed_events__v1;
