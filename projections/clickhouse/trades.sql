-- migrate:up
CREATE TABLE IF NOT EXISTS trades__v1 (
    _r UInt64 CODEC(Delta, LZ4),
    _i UInt32 CODEC(Delta, LZ4),
    _n UInt32,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts_event DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    trade_id UInt64 CODEC(Delta, LZ4),
    price Decimal(38, 18),
    quantity Decimal(38, 18),
    aggressor_side Enum8('NO_AGGRESSOR' = 0, 'BUYER' = 1, 'SELLER' = 2),
    flags UInt16,
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts_event)
ORDER BY (symbol, venue, ts_event, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS trades__v1;
