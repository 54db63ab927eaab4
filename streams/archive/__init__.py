"""LOG for good: sealed ranges as Parquet files, and the log port that reads them and LOG as one."""
