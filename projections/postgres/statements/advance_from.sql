-- Move a sink's position from where we left it, in the transaction of its rows.
UPDATE sink
SET position = $4, floor = $5, mark_root = $6, mark_sequence = $7, updated_at = now()
WHERE t = $1 AND epoch = $2 AND position = $3
RETURNING t
