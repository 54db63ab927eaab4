-- migrate:up
CREATE TABLE IF NOT EXISTS quotes__v1 (
    _r UInt64 CODEC(Delta, LZ4),
    _i UInt32 CODEC(Delta, LZ4),
    _n UInt32,
    symbol LowCardinality(String),
    venue LowCardinality(String),
    ts_event Nullable(DateTime64(9, 'UTC')),
    ts_recv DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    update_id UInt64 CODEC(Delta, LZ4),
    bid_price Decimal(38, 18),
    bid_quantity Decimal(38, 18),
    ask_price Decimal(38, 18),
    ask_quantity Decimal(38, 18),
    flags UInt16,
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts_recv)
ORDER BY (symbol, venue, ts_recv, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS quotes__v1;
