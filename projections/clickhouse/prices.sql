-- migrate:up
CREATE TABLE IF NOT EXISTS prices__v1 (
    _r UInt64 CODEC(Delta, LZ4),
    _i UInt32 CODEC(Delta, LZ4),
    _n UInt32,
    pair LowCardinality(String),
    `window` LowCardinality(String),
    ts DateTime64(9, 'UTC') CODEC(Delta, LZ4),
    volume Decimal(38, 18),
    quote_volume Decimal(38, 18),
    last_price_sum Decimal(38, 18),
    high_price Decimal(38, 18),
    low_price Decimal(38, 18),
    best_bid Decimal(38, 18),
    best_bid_quantity Decimal(38, 18),
    best_ask Decimal(38, 18),
    best_ask_quantity Decimal(38, 18),
    high_venue LowCardinality(String),
    low_venue LowCardinality(String),
    best_bid_venue LowCardinality(String),
    best_ask_venue LowCardinality(String),
    venues UInt8,
    flags UInt16,
    INDEX ir _r TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (pair, window, ts, _r, _i, _n)
SETTINGS non_replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- migrate:down
DROP TABLE IF EXISTS prices__v1;
