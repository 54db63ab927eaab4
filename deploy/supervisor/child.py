"""One process that the supervisor runs: what starts it, what proves it healthy, how it restarts."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from signal import SIGKILL, SIGTERM, Signals
from types import MappingProxyType

YIELDING = 5
"""Niceness of what fills tables: where cores are short, an event's own way comes first."""


async def running() -> None:
    """The probe of a child that offers nothing to ask: to run is to be healthy."""


@dataclass(frozen=True, slots=True)
class Restart:
    """When a child that ended is started again.

    An end within `steady_s` of having passed its probe, or before, is one more failed try; the
    wait after n of them in a row is `backoff_min_s * 2**n`, at most `backoff_max_s`, times a
    random factor in [0.5, 1]. `tries_max` failed tries in a row, or more than `restarts_max`
    restarts within `window_s`, fail everything.
    """

    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    steady_s: float = 0.5
    tries_max: int = 6
    restarts_max: int = 30
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user a root supervisor runs a child as; `search` keeps the right to walk
    through directories that are closed to that user (and no other right of root)."""

    uid: int
    gid: int
    search: bool


@dataclass(frozen=True, slots=True)
class Child:
    """A process to supervise. `env` is added to the supervisor's own environment.

    It starts when every child named in `after` has passed its probe, and stops after every child
    that names it. `before` runs (in a thread) ahead of every start, first or repeated. `nice` is
    added to the supervisor's own niceness: where cores are short, it yields to those with less.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    after: tuple[str, ...] = ()
    probe: Callable[[], Awaitable[None]] = running
    restart: Restart = Restart()
    before: Callable[[], None] | None = None
    ready_timeout_s: float = 30.0
    stop_signal: Signals = SIGTERM
    stop_timeout_s: float = 10.0
    death_signal: Signals = SIGKILL  # what the kernel sends it when the supervisor is killed
    account: Account | None = None
    nice: int = 0

    def environment(self) -> dict[str, str]:
        """The supervisor's environment with this child's own on top."""
        return {**os.environ, **self.env}


class State(StrEnum):
    WAITING = "waiting"  # for the children it comes after
    STARTING = "starting"  # it runs, its probe has not passed yet
    READY = "ready"
    BACKOFF = "backoff"  # it ended; the next start is being waited for
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # it ended too often


@dataclass(frozen=True, slots=True)
class Status:
    """What one child is doing; `since_ns` is the UTC time of its last change of state."""

    name: str
    pid: int | None
    state: State
    restarts: int
    since_ns: int
    reason: str = ""


class ChildFailed(Exception):
    """A child ended, or stayed unhealthy, more often than its policy allows: everything stopped.

    The message carries the child's last log lines.
    """
