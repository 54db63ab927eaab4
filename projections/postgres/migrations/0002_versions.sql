-- migrate:up
CREATE TABLE physical (
    t text PRIMARY KEY,                  -- physical table: <name>__v<version>, then ..._2 and on
    name text NOT NULL,
    version integer NOT NULL,
    instance integer NOT NULL,           -- how often this version was made; never used again
    state text NOT NULL CHECK (state IN ('building', 'serving', 'retiring', 'retired')),
    left_at timestamptz,                 -- when it ceased to answer queries, null if it never did
    target bigint,                       -- of a rebuild: the root that it goes for,
    rows bigint,                         -- rows it inserted,
    rate double precision,               -- rows a second,
    told_at timestamptz,                 -- and when it said so
    UNIQUE (name, version, instance)
);
ALTER TABLE active
    ADD COLUMN t text,                   -- the physical table that answers
    ADD COLUMN since timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN previous text;            -- the one that answered before: where a rollback goes
UPDATE active SET t = name || '__v' || version;
ALTER TABLE active ALTER COLUMN t SET NOT NULL;
INSERT INTO physical (t, name, version, instance, state)
SELECT t, name, version, 1, 'serving' FROM active;

-- migrate:down
ALTER TABLE active DROP COLUMN t, DROP COLUMN since, DROP COLUMN previous;
DROP TABLE physical;
