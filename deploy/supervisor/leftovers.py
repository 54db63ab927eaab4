"""What a killed supervisor leaves running, and its end: by pid files, sessions and a mark.

A process is ours when its pid *and* its start time (in clock ticks since this boot) are those of
a pid file: a re-used pid has another start time. Its descendants are ours when they are in its
session or carry the supervisor's mark, a random number, in the environment they started with.

Also a program, the guard: run by path with `python -I -S leftovers.py RUN_DIR MARK` it waits for
its standard input to end, which happens when the supervisor ends in whatever way, and then ends
what that supervisor left. It imports nothing but the standard library.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

MARK = "TIDEMILL_SUPERVISOR"  # the environment variable that holds the mark
PATIENCE_S = 5.0  # for the gentle signal, before SIGKILL
_PROC = Path("/proc")


@dataclass(frozen=True)
class Record:
    """A pid file's content. `argv_sha256` tells a reader which command it was; pid and start
    decide, because servers rewrite their own command line."""

    name: str
    pid: int
    start_ticks: int
    boot: str
    argv_sha256: str
    death_signal: int
    mark: str


@dataclass(frozen=True)
class Process:
    pid: int
    session: int
    start_ticks: int


def process(pid: int) -> Process | None:
    """The live process with this pid; None when there is none or only its zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # field 3 of proc(5) and up
    return None if fields[0] in "ZX" else Process(pid, int(fields[3]), int(fields[19]))


def processes() -> Iterator[Process]:
    """Every live process."""
    for entry in os.listdir(_PROC):
        if entry.isdigit() and (found := process(int(entry))) is not None:
            yield found


def is_marked(pid: int, mark: str) -> bool:
    """Whether this process started with the mark in its environment, as far as we may look."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def remember(run_dir: Path, name: str, pid: int, argv: list[str], sig: int, mark: str) -> None:
    """Write the pid file of a process that has just started (nothing when it already ended)."""
    found = process(pid)
    if found is None:
        return
    digest = hashlib.sha256("\0".join(argv).encode()).hexdigest()
    boot = _boot()
    record = Record(name, pid, found.start_ticks, boot, digest, sig, mark)
    fresh = run_dir / f".{name}.pid.new"
    fresh.write_text(json.dumps(asdict(record)))
    fresh.rename(run_dir / f"{name}.pid")


def forget(run_dir: Path, name: str) -> None:
    """Remove the pid file of a process that has ended."""
    (run_dir / f"{name}.pid").unlink(missing_ok=True)


def remembered(run_dir: Path) -> list[Record]:
    """Every pid file that can be read; one that is not ours to read or not whole is no record."""
    records = []
    for path in sorted(run_dir.glob("*.pid")):
        try:
            records.append(Record(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return records


def still_running(record: Record) -> bool:
    """Whether exactly the process this record was written about is alive."""
    found = process(record.pid)
    return found is not None and found.start_ticks == record.start_ticks and record.boot == _boot()


def end(records: list[Record], marks: set[str], timeout_s: float = 15.0) -> list[str]:
    """End these processes and all their descendants; returns the names that were running.

    Raises TimeoutError when something survives SIGKILL for `timeout_s`.
    """
    leaders = {record.pid: record for record in records if still_running(record)}
    names = [record.name for record in leaders.values()]
    # A leader with a gentle signal of its own ends its descendants itself, given time.
    gentle = {r.pid for r in leaders.values() if r.death_signal != signal.SIGKILL}
    started = time.monotonic()
    for record in leaders.values():
        _signal(record.pid, record.death_signal)
    while found := _ours(leaders, marks):
        waited_s = time.monotonic() - started
        if waited_s > timeout_s:
            raise TimeoutError(f"cannot end processes {sorted(p.pid for p in found)}")
        for each in found:
            if waited_s > PATIENCE_S or each.session not in gentle:
                _signal(each.pid, signal.SIGKILL)
        time.sleep(0.02)
    return names


def end_session(session: int, mark: str) -> None:
    """Kill what a child that has ended left in its session."""
    for each in processes():
        if each.session == session and is_marked(each.pid, mark):
            _signal(each.pid, signal.SIGKILL)


def _ours(leaders: dict[int, Record], marks: set[str]) -> list[Process]:
    alive = {pid for pid, record in leaders.items() if still_running(record)}
    return [
        each
        for each in processes()
        if each.session in alive or any(is_marked(each.pid, mark) for mark in marks)
    ]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # it ended, or is not ours: the caller looks again


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def guard(run_dir: Path, mark: str) -> None:
    """Wait for the supervisor's end; then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end([record for record in remembered(run_dir) if record.mark == mark], {mark})


if __name__ == "__main__":
    guard(Path(sys.argv[1]), sys.argv[2])
