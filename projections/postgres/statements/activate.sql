-- Make versions of tables the ones that answer queries, all at once.
INSERT INTO active (name, version)
SELECT * FROM unnest($1::text[], $2::integer[])
ON CONFLICT (name) DO UPDATE SET version = excluded.version
