-- What the feed of one instrument said last of its book: that it lost it, or has it again.
SELECT event
FROM {{feed_events}}
WHERE venue = {venue:String}
    AND symbol = {symbol:String}
    AND event IN ('BookGapDetected', 'BookResynced')
    AND _r <= {as_of:UInt64}
ORDER BY _r DESC
LIMIT 1
