-- A table that has none to answer queries yet gets its first.
INSERT INTO active (name, version, t)
VALUES ($1, $2, $3)
ON CONFLICT (name) DO NOTHING
