"""Cuts: outputs of one partition that are too many for a transaction, as several that are not.

They are cut between roots. Outputs of one root that are still too many are cut inside it, in an
order that depends on nothing but the root: by subject, then (i, n). See checkpoint.Within.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tidemill.schemas import events, frame, kinds
from tidemill.schemas.events import Derived
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.log import BATCH_MESSAGES_MAX
from tidemill.streams.runtime.checkpoint import Within
from tidemill.streams.runtime.outputs import Output

_AT = np.dtype([("r", "<u8"), ("i", "<u4"), ("n", "<u4")])
Positions = np.ndarray[Any, np.dtype[np.void]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Part(NamedTuple):
    """Outputs of one transaction. All roots up to `root` are whole with it; with `within` set, the
    root that it names is not, and those before it are.
    """

    outputs: list[Output]
    root: int
    within: Within | None


def fits(outputs: Sequence[Output], bytes_max: int) -> bool:
    """Return whether they go into one transaction with their checkpoint."""
    if len(outputs) + 1 > BATCH_MESSAGES_MAX:
        return False
    return len(outputs) == 1 or sum(len(output.payload) for output in outputs) <= bytes_max


def cut(outputs: Sequence[Output], bytes_max: int) -> Iterator[Part]:
    """Yield outputs of one partition, at least one, in parts that fit, in order of their roots."""
    yield from _cut([(output, _positions(output)) for output in outputs], bytes_max)


def beyond(output: Output, within: Within) -> Output | None:
    """Return what of an output is not in OUT yet, None where all of it is."""
    positions = _positions(output)
    there = positions["r"] == within.r
    if not there.any() or output.subject > within.subject:
        return output
    if output.subject == within.subject:
        after = (positions["i"] == within.i) & (positions["n"] > within.n)
        there &= ~(after | (positions["i"] > within.i))
    return _chosen(output, ~there)


def _cut(outputs: list[tuple[Output, Positions]], bytes_max: int) -> Iterator[Part]:
    roots = np.unique(np.concatenate([positions["r"] for _, positions in outputs]))
    if fits([output for output, _ in outputs], bytes_max):
        yield Part([output for output, _ in outputs], int(roots[-1]), None)
    elif len(roots) > 1:
        middle = roots[(len(roots) - 1) // 2]
        for lower in (True, False):
            half = []
            for output, positions in outputs:
                mask = (positions["r"] <= middle) == lower
                chosen = _chosen(output, mask)
                if chosen is not None:
                    half.append((chosen, positions[mask]))
            yield from _cut(half, bytes_max)
    else:
        yield from _cut_root(outputs, bytes_max)


def _cut_root(outputs: list[tuple[Output, Positions]], bytes_max: int) -> Iterator[Part]:
    """Cut outputs of one root, each in as large a part as fits."""
    in_order = sorted(outputs, key=lambda one: (one[0].subject, *one[1][["i", "n"]][0].tolist()))
    root = int(in_order[0][1]["r"][0])
    part: list[Output] = []
    last: Within | None = None
    for output, positions in in_order:
        if part and not fits([*part, output], bytes_max):
            yield Part(part, root, last)
            part = []
        part.append(output)
        _, i, n = positions[-1].tolist()
        last = Within(r=root, subject=output.subject, i=i, n=n)
    yield Part(part, root, None)


def _positions(output: Output) -> Positions:
    """Return (r, i, n) of each record of an output, in its order."""
    if subjects.parse(output.subject).kind in KINDS:
        records = kinds.decode(output.payload).records
        positions = np.empty(len(records), _AT)
        positions["r"], positions["i"] = records["at_r"], records["at_i"]
        positions["n"] = records["n"]
        return positions
    event = events.decode(output.payload)
    assert isinstance(event, Derived)
    return np.array([(event.at_r, event.at_i, event.n)], _AT)


def _chosen(output: Output, mask: Mask) -> Output | None:
    """Return an output of the chosen records alone, None for none."""
    if mask.all():
        return output
    if not mask.any():
        return None
    whole = kinds.decode(output.payload)
    records = np.ascontiguousarray(whole.records[mask])
    payload = frame.encode(
        whole.kind,
        records,
        int(records["at_r"][-1]),
        whole.price_exponent,
        whole.quantity_exponent,
        whole.flags,
    )
    return output._replace(payload=payload)
