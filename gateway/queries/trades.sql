-- The newest trades of some instruments, by position.
SELECT
    _r AS r,
    _i AS i,
    symbol,
    venue,
    trade_id,
    price,
    quantity,
    aggressor_side,
    toUnixTimestamp64Nano(ts_event) AS event_ns,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns,
    flags
FROM {{trades}}
WHERE symbol IN {symbols:Array(String)}
    AND venue IN {venues:Array(String)}
    AND concat(symbol, '.', venue) IN {ids:Array(String)}
    AND ts_event >= fromUnixTimestamp64Nano({from:Int64})
    AND ts_event < fromUnixTimestamp64Nano({to:Int64})
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
ORDER BY _r DESC, _i DESC, _n DESC
LIMIT {limit:UInt32}
