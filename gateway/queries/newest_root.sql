-- The greatest position of a trade or quote that was received up to a time.
SELECT greatest(
    (SELECT max(_r) FROM {{trades}} WHERE ts_recv <= fromUnixTimestamp64Nano({ns:Int64}) AND _r <= {trades:UInt64}),
    (SELECT max(_r) FROM {{quotes}} WHERE ts_recv <= fromUnixTimestamp64Nano({ns:Int64}) AND _r <= {quotes:UInt64})
) AS root
