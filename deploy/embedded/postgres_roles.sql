-- Run once, in single-user mode, before the first start: the owner, the reader, the database.
-- The two passwords are put in place of their names; they are letters, digits, - and _ only.

CREATE ROLE tidemill LOGIN PASSWORD ':owner_password';

CREATE ROLE tidemill_reader LOGIN PASSWORD ':reader_password';

CREATE DATABASE tidemill OWNER tidemill;

