"""Records without ids that two connections may bring: each once, by what it says. Pure."""

from collections import OrderedDict

from tidemill.streams.feeds.feed import Records

KEPT_MAX = 256
"""Records of one kind and instrument that are remembered: more than two connections' overlap."""


class Latest:
    """What came lately of every kind and instrument, but for the time of its receipt."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], OrderedDict[bytes, None]] = {}

    def unseen(self, kind: str, instrument: int, records: Records, merging: bool) -> Records:
        """Remember `records`; while `merging`, return those that did not come before.

        Of one connection alone everything counts: two that say the same are two.
        """
        seen = self._seen.setdefault((kind, instrument), OrderedDict())
        said = records.copy()
        said["ts_recv"] = 0
        whole, size = said.tobytes(), records.dtype.itemsize
        kept: list[int] = []
        for at in range(len(records)):
            one = whole[at * size : (at + 1) * size]
            if one not in seen:
                kept.append(at)
                seen[one] = None
                if len(seen) > KEPT_MAX:
                    seen.popitem(last=False)
        return records[kept] if merging and len(kept) < len(records) else records
