-- When each of some instruments was quoted last, by position.
SELECT symbol, venue, toUnixTimestamp64Nano(argMax(ts_recv, (_r, _i))) AS recv_ns
FROM {{quotes}}
WHERE symbol IN {symbols:Array(String)}
    AND venue IN {venues:Array(String)}
    AND concat(symbol, '.', venue) IN {ids:Array(String)}
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
GROUP BY symbol, venue
