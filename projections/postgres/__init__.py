"""Tables in Postgres: definitions, what is latest, and how far every sink has come."""
