-- The newest quote of some instruments, by position.
SELECT
    _r AS r,
    symbol,
    venue,
    toUnixTimestamp64Nano(ts_event) AS event_ns,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns,
    update_id,
    bid_price,
    bid_quantity,
    ask_price,
    ask_quantity,
    flags
FROM {{quotes}}
WHERE symbol IN {symbols:Array(String)}
    AND venue IN {venues:Array(String)}
    AND concat(symbol, '.', venue) IN {ids:Array(String)}
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
ORDER BY _r DESC, _i DESC, _n DESC
LIMIT 1
