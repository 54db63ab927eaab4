-- The newest trade of each of some instruments, by position.
SELECT
    _r AS r,
    symbol,
    venue,
    price,
    toUnixTimestamp64Nano(ts_event) AS event_ns,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns
FROM {{trades}}
WHERE symbol IN {symbols:Array(String)}
    AND venue IN {venues:Array(String)}
    AND concat(symbol, '.', venue) IN {ids:Array(String)}
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
ORDER BY _r DESC, _i DESC, _n DESC
LIMIT 1 BY symbol, venue
