"""CPU seconds and memory of processes, from /proc."""

import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, without its children."""
    return sum(map(int, _fields(pid)[11:13])) / _TICKS


def cpu_seconds(roots: dict[str, int]) -> dict[str, float]:
    """Return user and system seconds of each named process with its living descendants."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        pid = int(folder.name)
        try:
            fields = _fields(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
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


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process now, 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def peak_rss_bytes(pid: int) -> int:
    """Return the most resident memory that a process has had, 0 where it has ended.

    Not ru_maxrss: that begins at the memory of the process that it was forked from.
    """
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def _fields(pid: int) -> list[str]:
    """Return what /proc says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
