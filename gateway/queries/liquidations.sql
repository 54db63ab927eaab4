-- The newest forced orders of some instruments, by position.
SELECT
    _r AS r,
    _i AS i,
    symbol,
    venue,
    toUnixTimestamp64Nano(ts_event) AS event_ns,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns,
    price,
    average_price,
    quantity,
    filled_quantity,
    side,
    flags
FROM {{liquidations}}
WHERE symbol IN {symbols:Array(String)}
    AND venue IN {venues:Array(String)}
    AND concat(symbol, '.', venue) IN {ids:Array(String)}
    AND ts_event >= fromUnixTimestamp64Nano({from:Int64})
    AND ts_event < fromUnixTimestamp64Nano({to:Int64})
    AND _r <= {as_of:UInt64}
ORDER BY _r DESC, _i DESC, _n DESC
LIMIT {limit:UInt32}
