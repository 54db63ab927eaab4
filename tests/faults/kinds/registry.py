"""Every kind of fault there is: one line each, with how often it is drawn."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import NamedTuple

from tidemill.tests.faults.kinds import (
    consumers,
    killing,
    network,
    poison,
    rebuilding,
    resharding,
    stalls,
    zombies,
)
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
    "zombie": Kind(zombies.continued, 6),
    "network-slow": Kind(network.slow, 2),
    "network-cut": Kind(network.cut, 3),
    "network-silent": Kind(network.silent, 3),
    "network-half-open": Kind(network.half_open, 2),
    "network-deaf": Kind(network.deaf, 4),
    "consumers-deleted": Kind(consumers.deleted, 2),
    "clickhouse-stalled": Kind(stalls.clickhouse, 1),
    "poison": Kind(poison.appended, 4),
    "rebuild-killed": Kind(rebuilding.killed, 2),
    "shards-moved": Kind(resharding.moved, 3),
}
