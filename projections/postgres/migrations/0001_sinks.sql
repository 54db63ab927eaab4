-- migrate:up
CREATE TABLE sink (
    t text PRIMARY KEY,                  -- physical table, <name>__v<version>
    log_uuid text NOT NULL,              -- identity of the LOG that its rows are made of
    epoch bigint NOT NULL,               -- who may write: the newest taker
    position bigint NOT NULL,            -- every root up to it has its rows in the table
    floor bigint NOT NULL,               -- newest root with a row that was acknowledged
    mark_root bigint NOT NULL,           -- every root after it can be read again ...
    mark_sequence bigint NOT NULL,       -- ... from this sequence of its stream
    roots_max bigint NOT NULL,           -- most roots that one insert has ever spanned
    rows_max bigint NOT NULL,            -- most rows that one insert has ever had
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE active (
    name text PRIMARY KEY,               -- a table as queries name it
    version integer NOT NULL             -- the version that answers them
);

-- migrate:down
DROP TABLE active;
DROP TABLE sink;
