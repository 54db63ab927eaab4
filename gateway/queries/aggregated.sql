-- The newest prices of a pair over its venues, made at `time` records, whose time never falls.
SELECT
    _r AS r,
    pair,
    toUnixTimestamp64Nano(ts) AS ns,
    volume,
    quote_volume,
    last_price_sum,
    high_price,
    low_price,
    best_bid,
    best_bid_quantity,
    best_ask,
    best_ask_quantity,
    high_venue,
    low_venue,
    best_bid_venue,
    best_ask_venue,
    venues,
    flags
FROM {{prices}}
WHERE pair = {pair:String}
    AND `window` = '24h'
    AND _r <= {as_of:UInt64}
ORDER BY ts DESC, _r DESC, _i DESC, _n DESC
LIMIT {limit:UInt32}
