-- What the feeds of each venue said in a window of time: how often, and their newest clocks.
SELECT
    venue,
    product,
    event,
    count() AS times,
    argMax(offset_ns, _r) AS newest_offset_ns,
    argMax(latency_ns, _r) AS newest_latency_ns,
    toUnixTimestamp64Nano(max(ts_recv)) AS recv_ns
FROM {{feed_events}}
WHERE ts_recv > fromUnixTimestamp64Nano({from:Int64}) AND _r <= {as_of:UInt64}
GROUP BY venue, product, event
ORDER BY venue, product, event
