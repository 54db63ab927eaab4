"""Screens: the language of their conditions, and the strategies that are written in it."""
