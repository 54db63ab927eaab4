"""Backtests as people run them: data from files and archives, searches, checks, reports."""
