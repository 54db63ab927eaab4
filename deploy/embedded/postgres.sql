-- Run once, in single-user mode, in the new database: its owner made it, others may only read.

REVOKE ALL ON DATABASE tidemill FROM PUBLIC;

GRANT CONNECT ON DATABASE tidemill TO tidemill_reader;

GRANT USAGE ON SCHEMA public TO tidemill_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE tidemill GRANT USAGE ON SCHEMAS TO tidemill_reader;

ALTER DEFAULT PRIVILEGES FOR ROLE tidemill GRANT SELECT ON TABLES TO tidemill_reader;

ALTER ROLE tidemill_reader SET default_transaction_read_only = on;

