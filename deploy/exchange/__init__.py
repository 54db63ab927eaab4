"""The simulated exchange: seeded order flow, real matching, the venues' protocols on loopback."""
