"""Which composites there are, of which members: what LOG says, by slots."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.processors.kernels.composite_state import SPECS
from tidemill.schemas.events.composites import MEMBERS_MAX, CompositeDefined
from tidemill.schemas.events.event import Event
from tidemill.schemas.identifiers import InstrumentId
from tidemill.schemas.run import INSTRUMENTS, Records

COLUMNS = (
    *("symbol", "venue", "pair", "price_exponent", "quantity_exponent"),
    *("inverse", "multiplier", "multiplier_exponent"),
)
"""Columns of INSTRUMENTS that say what can be a member of what."""
_MEASURE = ("pair", "inverse", "multiplier", "multiplier_exponent")
"""What a member and its composite have in common."""


class Composites(NamedTuple):
    """Composites (C,) as kernels read them; of each MEMBERS_MAX places, -1 where there is nobody.

    `slots` (C,) their own rows, `members` (C, M) their members', `counts` (C,) how many are named,
    `watched` (C, K) which intervals, `holds` (C,) ns, `price_up` and `quantity_up` (C, M) the
    powers of ten that bring a member's mantissas to the composite's.
    """

    slots: NDArray[np.int64]
    members: NDArray[np.int64]
    counts: NDArray[np.int64]
    watched: NDArray[np.uint8]
    holds: NDArray[np.int64]
    price_up: NDArray[np.int64]
    quantity_up: NDArray[np.int64]


class Plan(NamedTuple):
    """What LOG asks for: `keys` (S,) uint64 what each row is, `of` the composites, and of each
    its identifier and the names (256,) S136 of the venues in a mask."""

    keys: NDArray[np.uint64]
    of: Composites
    ids: tuple[str, ...]
    names: tuple[NDArray[np.bytes_], ...]


def plan(settings: tuple[Event, ...], instruments: Records) -> Plan:
    """Return what the sets ask for of the instruments (S,) that are defined."""
    return _plan(settings, *(instruments[name].tobytes() for name in COLUMNS))


@lru_cache(maxsize=64)
def _plan(settings: tuple[Event, ...], *columns: bytes) -> Plan:
    table = np.zeros(len(columns[0]) // INSTRUMENTS["symbol"].itemsize, INSTRUMENTS)
    for name, column in zip(COLUMNS, columns, strict=True):
        table[name] = np.frombuffer(column, INSTRUMENTS[name])
    named = zip(table["symbol"].tolist(), table["venue"].tolist(), strict=True)
    slots = {InstrumentId(s.decode(), v.decode()): slot for slot, (s, v) in enumerate(named)}
    keys = np.zeros(len(table), np.uint64)
    found: dict[int, CompositeDefined] = {}
    for one in settings:
        if isinstance(one, CompositeDefined) and one.instrument_id in slots:
            found.setdefault(slots[one.instrument_id], one)
    rows = len(found)
    of = Composites(
        np.array(list(found), np.int64),
        np.full((rows, MEMBERS_MAX), -1, np.int64),
        np.array([len(one.members) for one in found.values()], np.int64),
        np.array([[s in one.bars for s in SPECS] for one in found.values()], np.uint8).reshape(
            rows, len(SPECS)
        ),
        np.array([one.hold_s * 1_000_000_000 for one in found.values()], np.int64),
        np.zeros((rows, MEMBERS_MAX), np.int64),
        np.zeros((rows, MEMBERS_MAX), np.int64),
    )
    for c, (slot, one) in enumerate(found.items()):
        for m, member in enumerate(one.member_ids):
            _place(of, c, m, slot, slots.get(member, -1), table)
        said = one.model_dump_json(exclude={"name", "sequence"}), _measured(table[slot])
        ups = of.price_up[c].tolist(), of.quantity_up[c].tolist()
        keys[slot] = _digest(repr((said, ups)))
        for mine in of.members[c][of.members[c] >= 0].tolist():
            keys[mine] = _digest(repr(_measured(table[mine])))
    names = tuple(_names([str(m.venue) for m in one.member_ids]) for one in found.values())
    return Plan(keys, of, tuple(one.instrument for one in found.values()), names)


def _place(of: Composites, c: int, m: int, slot: int, mine: int, table: Records) -> None:
    """Give a member its place, if it is defined and measured as its composite is."""
    if mine < 0 or table[list(_MEASURE)][mine] != table[list(_MEASURE)][slot]:
        return
    of.members[c, m] = mine
    for name, up in (("price_exponent", of.price_up), ("quantity_exponent", of.quantity_up)):
        up[c, m] = int(table[name][mine]) - int(table[name][slot])


def _measured(one: Any) -> tuple[Any, ...]:
    """Return what the mantissas of an instrument's bars mean."""
    return tuple(one[name].item() for name in COLUMNS if name not in {"symbol", "venue", "pair"})


def _digest(text: str) -> int:
    """Return a number that is not 0."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") | 1


def _names(venues: Sequence[str]) -> NDArray[np.bytes_]:
    """Return the names of the venues in each mask, in their order, with commas."""
    chosen = [[v for m, v in enumerate(venues) if mask >> m & 1] for mask in range(256)]
    return np.array([",".join(some).encode() for some in chosen], "S136")


def problems(composites: Sequence[CompositeDefined]) -> list[str]:
    """Say where two composites would be one instrument; what a command refuses."""
    found: list[str] = []
    owners: dict[str, str] = {}
    for one in composites:
        owner = owners.setdefault(one.instrument, one.name)
        if owner != one.name:
            found.append(f"{one.name}: {one.instrument} is the composite {owner} already")
    return found
