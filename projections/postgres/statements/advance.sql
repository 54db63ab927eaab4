-- Move a sink's position; no row comes back when it is not ours any more.
UPDATE sink
SET position = $3, floor = $4, mark_root = $5, mark_sequence = $6, updated_at = now()
WHERE t = $1 AND epoch = $2
RETURNING t
