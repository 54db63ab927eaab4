-- The newest of what feeds said of themselves, by position.
SELECT
    _r AS r,
    event,
    venue,
    symbol,
    product,
    toUnixTimestamp64Nano(ts_recv) AS recv_ns,
    reason,
    expected,
    received,
    first_id,
    last_id,
    toUnixTimestamp64Nano(ts_from) AS from_ns,
    toUnixTimestamp64Nano(ts_to) AS to_ns,
    offset_ns,
    latency_ns,
    detail
FROM {{feed_events}}
WHERE ({venue:String} = '' OR venue = {venue:String})
    AND ({symbol:String} = '' OR symbol = {symbol:String})
    AND ({event:String} = '' OR event = {event:String})
    AND ts_recv >= fromUnixTimestamp64Nano({from:Int64})
    AND ts_recv < fromUnixTimestamp64Nano({to:Int64})
    AND _r > {floor:UInt64}
    AND _r <= {as_of:UInt64}
ORDER BY _r DESC
LIMIT {limit:UInt32}
