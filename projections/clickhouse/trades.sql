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
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

CREATE VIEW IF NOT EXISTS trades__v1_latest AS
SELECT
    t.symbol AS symbol,
    t.venue AS venue,
    argMax(t._r, (t._r, t._i, t._n)) AS _r,
    argMax(t._i, (t._r, t._i, t._n)) AS _i,
    argMax(t._n, (t._r, t._i, t._n)) AS _n,
    argMax(t.ts_event, (t._r, t._i, t._n)) AS ts_event,
    argMax(t.ts_recv, (t._r, t._i, t._n)) AS ts_recv,
    argMax(t.trade_id, (t._r, t._i, t._n)) AS trade_id,
    argMax(t.price, (t._r, t._i, t._n)) AS price,
    argMax(t.quantity, (t._r, t._i, t._n)) AS quantity,
    argMax(t.aggressor_side, (t._r, t._i, t._n)) AS aggressor_side,
    argMax(t.flags, (t._r, t._i, t._n)) AS flags
FROM trades__v1 AS t
WHERE t._r <= {as_of:UInt64}
GROUP BY t.symbol, t.venue;

-- migrate:down
DROP VIEW IF EXISTS trades__v1_latest;
DROP TABLE IF EXISTS trades__v1;
