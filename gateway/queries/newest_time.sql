-- When the newest trade or quote up to a position was received, ns UTC; 0 where there is none.
SELECT greatest(
    (SELECT toUnixTimestamp64Nano(max(ts_recv)) FROM {{trades}} WHERE _r > {floor:UInt64} AND _r <= {as_of:UInt64}),
    (SELECT toUnixTimestamp64Nano(max(ts_recv)) FROM {{quotes}} WHERE _r > {floor:UInt64} AND _r <= {as_of:UInt64})
) AS ns
