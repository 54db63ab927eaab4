-- Take a sink over: the epoch rises by one. $5 is the epoch of a sink that is already ours, or null.
-- $6 is an epoch that is known elsewhere: Postgres may have lost what ClickHouse still has.
INSERT INTO sink AS s
    (t, log_uuid, epoch, position, floor, mark_root, mark_sequence, roots_max, rows_max)
VALUES ($1, $2, $6::bigint + 1, 0, 0, 0, 1, $3, $4)
ON CONFLICT (t) DO UPDATE SET
    epoch = greatest(s.epoch, $6) + 1,
    roots_max = greatest(s.roots_max, excluded.roots_max),
    rows_max = greatest(s.rows_max, excluded.rows_max),
    updated_at = now()
WHERE s.log_uuid = $2 AND ($5::bigint IS NULL OR s.epoch = $5)
RETURNING epoch, position, floor, mark_root, mark_sequence, roots_max, rows_max
