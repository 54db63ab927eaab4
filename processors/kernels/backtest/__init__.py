"""Strategies, and the account they trade in when simulated: exact money, orders, fills."""
