"""Faults that leave no engine to go on with: each round is played on servers of its own."""
