"""What benchmarks are made of: their market data, and the baselines that run beside them."""
