-- A table whose first version is only being made answers queries from the start.
INSERT INTO active (name, version)
SELECT * FROM unnest($1::text[], $2::integer[])
ON CONFLICT (name) DO NOTHING
