"""The checker: reads log and tables with means of its own, and decides the invariants I1 to I13.

It shares no code with the engine; its own formulas are written without hurry and in plain Python.
"""
