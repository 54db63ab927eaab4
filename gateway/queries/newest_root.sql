-- The newest root whose `time` record is at or before a time.
SELECT max(_r) AS root
FROM {{times}}
WHERE ts <= fromUnixTimestamp64Nano({ns:Int64}) AND _r <= {times:UInt64}
