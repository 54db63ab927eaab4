"""Read-only HTTP: a file and its .sql per question; each answer says which position it is of."""
