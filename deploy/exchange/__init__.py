"""The simulated exchange: seeded order flow, real matching, Binance spot's protocol on loopback."""
