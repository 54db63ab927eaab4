-- A physical table that its database lost holds nothing: it is complete up to no root.
UPDATE sink
SET position = 0, floor = 0, mark_root = 0, mark_sequence = 1, updated_at = now()
WHERE t = $1
