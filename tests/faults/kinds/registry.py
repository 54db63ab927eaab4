"""Every kind of fault there is: one line each, with how often it is drawn."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import NamedTuple

from tidemill.tests.faults.kinds import killing
from tidemill.tests.faults.stage import Stage, Struck


class Kind(NamedTuple):
    """A kind of fault: what strikes, and how often it is drawn beside the others."""

    strike: Callable[[Stage, Random], Awaitable[Struck]]
    weight: int


KINDS: Mapping[str, Kind] = {
    "kill-at-point": Kind(killing.at_points, 8),
    "kill-server-inside": Kind(killing.server_inside, 5),
    "kill-at-random": Kind(killing.at_random, 8),
    "kill-in-snapshot": Kind(killing.at_snapshot, 1),
    "kill-supervisor": Kind(killing.the_supervisor, 1),
}
