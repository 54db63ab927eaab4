-- Say how far a rebuild is.
UPDATE physical SET target = $2, rows = $3, rate = $4, told_at = now() WHERE t = $1
