"""Kinds of fault, one file each: a function that strikes a stage as its random numbers say."""
