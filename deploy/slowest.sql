-- How far every sink has come, of every version of every table.
SELECT t, position FROM sink
