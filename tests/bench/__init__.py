"""Benchmarks of DESIGN's table: each runs beside its baseline and prints medians and spread."""
