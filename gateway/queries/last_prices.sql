-- The last price of each of some instruments: that of its newest trade by event time, as the price
-- of a pair counts it, so that a hole filled late does not bring an old price back.
SELECT
    symbol,
    venue,
    argMax(price, (ts_event, _r, _i)) AS last_price,
    toUnixTimestamp64Nano(max(ts_event)) AS event_ns,
    toUnixTimestamp64Nano(max(ts_recv)) AS recv_ns
FROM {{trades}}
WHERE symbol IN {symbols:Array(String)}
    AND venue IN {venues:Array(String)}
    AND concat(symbol, '.', venue) IN {ids:Array(String)}
    AND ts_event <= ts_recv + INTERVAL 1 HOUR
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
GROUP BY symbol, venue
ORDER BY venue, symbol
