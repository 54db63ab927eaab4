-- Make these physical tables answer queries; those that did are remembered for the way back.
WITH old AS (
    UPDATE physical SET left_at = now()
    WHERE t IN (
        SELECT a.t FROM active a JOIN physical p ON p.name = a.name AND p.t = ANY($1::text[])
        WHERE a.t <> p.t
    )
), new AS (
    UPDATE physical SET state = 'serving', left_at = NULL
    WHERE t = ANY($1::text[])
    RETURNING name, version, t
)
INSERT INTO active AS a (name, version, t)
SELECT name, version, t FROM new
ON CONFLICT (name) DO UPDATE
SET version = excluded.version, t = excluded.t, since = now(), previous = a.t
WHERE a.t <> excluded.t
