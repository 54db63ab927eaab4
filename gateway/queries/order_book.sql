-- A book after the last whole message at or before record i of root as_of: the whole book that
-- stands at (start_r, start_i), and what changed since. 16 marks the last record of a message.
SELECT side, price, quantity, update_id, event_ns, recv_ns
FROM (
    SELECT
        side,
        price,
        argMax(level_quantity, (_r, _i)) AS quantity,
        argMax(argMax(id, (_r, _i)), max((_r, _i))) OVER () AS update_id,
        max(max(event)) OVER () AS event_ns,
        max(max(recv)) OVER () AS recv_ns
    FROM (
        SELECT
            _r,
            _i,
            side,
            price,
            quantity AS level_quantity,
            last_update_id AS id,
            0 AS event,
            toUnixTimestamp64Nano(ts) AS recv
        FROM {{book_snapshots}}
        WHERE symbol = {symbol:String}
            AND venue = {venue:String}
            AND _r = {start_r:UInt64}
            AND _i = {start_i:UInt32}
        UNION ALL
        SELECT
            _r,
            _i,
            side,
            price,
            quantity AS level_quantity,
            last_update_id AS id,
            toUnixTimestamp64Nano(ts_event) AS event,
            toUnixTimestamp64Nano(ts_recv) AS recv
        FROM (
            SELECT *, max(if(bitTest(flags, 4), (_r, _i), (0, 0))) OVER () AS whole
            FROM {{book_levels}}
            WHERE symbol = {symbol:String}
                AND venue = {venue:String}
                AND _r >= {start_r:UInt64}
                AND (_r > {start_r:UInt64} OR _i > {start_i:UInt32})
                AND _r <= {as_of:UInt64}
                AND (_r < {as_of:UInt64} OR _i <= {i:UInt32})
        )
        WHERE (_r, _i) <= whole
    )
    GROUP BY side, price
)
WHERE quantity > 0 AND side != 'NO_ORDER_SIDE'
ORDER BY side, if(side = 'BUY', -price, price)
LIMIT {limit:UInt32} BY side
