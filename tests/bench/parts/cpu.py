"""CPU seconds of processes and all their descendants, from /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(roots: dict[str, int]) -> dict[str, float]:
    """Return user and system seconds of each named process with its living descendants."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        pid = int(folder.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(map(int, fields[11:15])) / _TICKS  # its own, and of children that ended
    owners = {pid: name for name, pid in roots.items()}
    found = dict.fromkeys(roots, 0.0)
    for pid, seconds in used.items():
        at = pid
        while at in parents and at not in owners:
            at = parents[at]
        if at in owners:
            found[owners[at]] += seconds
    return {name: round(seconds, 2) for name, seconds in found.items()}
