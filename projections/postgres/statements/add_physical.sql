-- Note a physical table that is about to be made.
INSERT INTO physical (t, name, version, instance, state)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (t) DO NOTHING
