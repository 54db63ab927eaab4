"""What is committed, to WebSocket clients as it is committed: trades, quotes and bars."""
