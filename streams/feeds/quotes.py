"""Quotes of two connections: each comes once, by the venue's update ids. Pure."""

import numpy as np

from tidemill.streams.feeds.feed import Records


class Quotes:
    """The newest update id of every instrument, by symbol."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def take(self, symbol: str, quotes: Records, merging: bool) -> Records:
        """Note `quotes` (N,); while `merging`, return those newer than every one before."""
        if merging:
            ids = quotes["update_id"].astype(np.int64)
            last = self._last.get(symbol, -1)
            before = np.maximum.accumulate(np.concatenate(([last], ids)))[:-1]
            quotes = quotes[ids > before]
        if len(quotes):
            self._last[symbol] = quotes["update_id"].item(-1)
        return quotes
