"""Named points at which a fault test has a process killed; without its variable they do nothing.

TIDEMILL_CRASH_POINTS names a directory. `<point>.armed` in it, an Arming as JSON, arms a point:
the process that reaches it for the `nth` time from then on renames the file to `<point>.hit`, so
each arming is hit once and whoever is started again goes on, and then kills -9 itself, or `pid`.
The file then holds a Hit: the proof that, and where, it was. With SIGSTOP for a signal the process
stands still there, for others to take it for dead, and goes on from there when it is continued.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL, Signals

from pydantic import BaseModel, ConfigDict, Field

VARIABLE = "TIDEMILL_CRASH_POINTS"


class Arming(BaseModel):
    """Kill `pid` (None: who reaches the point) `after_s` after the point is reached `nth`; or stop
    it, where `signal` is SIGSTOP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nth: int = Field(default=1, ge=1)
    pid: int | None = None
    after_s: float = Field(default=0.0, ge=0, le=10)
    signal: Signals = SIGKILL


class Hit(BaseModel):
    """Process `by` reached `point`, and `killed` was killed at `ts` (ns UTC).

    `latest` is the point of the same group that had been reached last when it was killed: where
    it is `point` itself, what begins there had not ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: str
    by: int
    killed: int
    latest: str
    ts: int


class CrashPoints:
    """The points of one process, armed by files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._counts: dict[str, int] = {}
        self._latest: dict[str, str] = {}

    def armed(self, point: str) -> bool:
        """Return whether a point is armed now."""
        return (self._directory / f"{point}.armed").exists()

    def reach(self, point: str) -> None:
        """Pass a point, or be killed at it."""
        self._latest[_group(point)] = point
        path = self._directory / f"{point}.armed"
        if not path.exists():
            self._counts.pop(point, None)
            return
        arming = Arming.model_validate_json(path.read_bytes())
        self._counts[point] = self._counts.get(point, 0) + 1
        if self._counts[point] < arming.nth:
            return
        try:
            path.rename(path.with_suffix(".hit"))
        except FileNotFoundError:
            return  # another process reached it first
        if arming.after_s:
            threading.Thread(target=self._kill, args=(point, arming)).start()
        else:
            self._kill(point, arming)

    def _kill(self, point: str, arming: Arming) -> None:
        time.sleep(arming.after_s)
        if arming.pid is None:
            self._record(point, os.getpid())
            os.kill(os.getpid(), arming.signal)
        else:
            os.kill(arming.pid, arming.signal)
            self._record(point, arming.pid)

    def _record(self, point: str, killed: int) -> None:
        latest = self._latest[_group(point)]
        hit = Hit(point=point, by=os.getpid(), killed=killed, latest=latest, ts=time.time_ns())
        (self._directory / f".{point}").write_text(hit.model_dump_json())
        (self._directory / f".{point}").rename(self._directory / f"{point}.hit")


def _group(point: str) -> str:
    return point.rpartition(".")[0]


_points = CrashPoints(Path(os.environ[VARIABLE])) if VARIABLE in os.environ else None


def armed(point: str) -> bool:
    """Return whether a point is armed now."""
    return _points is not None and _points.armed(point)


def reach(point: str) -> None:
    """Pass a point, named ``<group>.<step>``; be killed at it when a test has armed it."""
    if _points is not None:
        _points.reach(point)


def of(group: str) -> Callable[[str], None]:
    """Return what is called at each step of a group, by the step's name."""
    return lambda step: reach(f"{group}.{step}")
