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
    auto_statistics_types = '',
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

CREATE VIEW IF NOT EXISTS prices__v1_latest AS
SELECT
    t.pair AS pair,
    t.`window` AS `window`,
    argMax(t._r, (t._r, t._i, t._n)) AS _r,
    argMax(t._i, (t._r, t._i, t._n)) AS _i,
    argMax(t._n, (t._r, t._i, t._n)) AS _n,
    argMax(t.ts, (t._r, t._i, t._n)) AS ts,
    argMax(t.volume, (t._r, t._i, t._n)) AS volume,
    argMax(t.quote_volume, (t._r, t._i, t._n)) AS quote_volume,
    argMax(t.last_price_sum, (t._r, t._i, t._n)) AS last_price_sum,
    argMax(t.high_price, (t._r, t._i, t._n)) AS high_price,
    argMax(t.low_price, (t._r, t._i, t._n)) AS low_price,
    argMax(t.best_bid, (t._r, t._i, t._n)) AS best_bid,
    argMax(t.best_bid_quantity, (t._r, t._i, t._n)) AS best_bid_quantity,
    argMax(t.best_ask, (t._r, t._i, t._n)) AS best_ask,
    argMax(t.best_ask_quantity, (t._r, t._i, t._n)) AS best_ask_quantity,
    argMax(t.high_venue, (t._r, t._i, t._n)) AS high_venue,
    argMax(t.low_venue, (t._r, t._i, t._n)) AS low_venue,
    argMax(t.best_bid_venue, (t._r, t._i, t._n)) AS best_bid_venue,
    argMax(t.best_ask_venue, (t._r, t._i, t._n)) AS best_ask_venue,
    argMax(t.venues, (t._r, t._i, t._n)) AS venues,
    argMax(t.flags, (t._r, t._i, t._n)) AS flags
FROM prices__v1 AS t
WHERE t._r <= {as_of:UInt64}
GROUP BY t.pair, t.`window`;

-- migrate:down
DROP VIEW IF EXISTS prices__v1_latest;
DROP TABLE IF EXISTS prices__v1;
