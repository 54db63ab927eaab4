"""Feeds: the one WebSocket loop, one file per venue and product, captures, and trades proven."""
