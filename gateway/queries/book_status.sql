-- The newest state of every book that was heard of in a window of time.
SELECT
    symbol,
    venue,
    argMax(state, (_r, _i, _n)) AS newest_state,
    argMax(flags, (_r, _i, _n)) AS newest_flags,
    argMax(last_update_id, (_r, _i, _n)) AS update_id,
    argMax(toUnixTimestamp64Nano(ts_recv), (_r, _i, _n)) AS recv_ns,
    max(_r) AS r
FROM {{book_metrics}}
WHERE ts > fromUnixTimestamp64Nano({from:Int64}) AND _r <= {as_of:UInt64}
GROUP BY symbol, venue
ORDER BY symbol, venue
