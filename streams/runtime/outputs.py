"""Outputs: numbered by their cause, packed into frames by subject."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tidemill.schemas import events, frame
from tidemill.schemas.events import Derived, Event
from tidemill.schemas.events.dead_letter import PAYLOAD_BYTES_MAX, DeadLetter
from tidemill.schemas.identifiers import partition_token
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.run import Records
from tidemill.streams.runtime.graph import Processor
from tidemill.streams.subjects import DERIVED, derived

ROOTS = {kind: root for root, kind in DERIVED.items()}
"""Kind of derived records to the first token of their subjects."""
FRAME_RECORDS_BYTES = 64 * 1024
"""Most bytes of records that one derived frame carries."""
Ints = np.ndarray[Any, np.dtype[Any]]


class Output(NamedTuple):
    """One message for OUT and the partition whose checkpoint covers it."""

    partition: int
    subject: str
    payload: bytes


class Letter(NamedTuple):
    """A record, or a part of one, that a processor could not take.

    `poison`: it is not valid. Else its key is parked since an earlier one, or a step took it only
    in part (a very late trade). `subject` and `payload` are kept where the bytes could not be read;
    otherwise LOG has them at `r`.
    """

    r: int
    i: int
    partition: int
    reason: str
    poison: bool
    subject: str = ""
    payload: bytes = b""


@njit("u4[:](u8[:], u4[:], u1[:], u4)", cache=True)
def _ordinals(r: Ints, i: Ints, partition: Ints, kind: int) -> Ints:  # pragma: no cover
    """n = partition << 24 | kind << 20 | ordinal of the partition's outputs at (r, i)."""
    n = np.empty(len(r), np.uint32)
    count = np.zeros(256, np.uint32)
    stamp = np.full(256, -1, np.int64)
    begin = 0
    for j in range(len(r)):
        if j > 0 and (r[j] != r[j - 1] or i[j] != i[j - 1]):
            begin = j
        p = partition[j]
        if stamp[p] < begin:
            count[p] = 0
        stamp[p] = j
        if count[p] >> np.uint32(20):
            raise OverflowError("one record caused over 2^20 outputs in one partition")
        n[j] = (np.uint32(p) << np.uint32(24)) | (kind << np.uint32(20)) | count[p]
        count[p] += np.uint32(1)
    return n


def number(r: Ints, i: Ints, partition: Ints, kind: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return `n` (N,) of outputs in order of emission; it does not depend on sharding.

    `r`, `i`, `partition` are (N,), `kind` the index of the kind in the processor's emits. Raises
    OverflowError when one record caused over 2^20 outputs in a partition, ValueError when (r, i)
    falls: the step emitted out of order.
    """
    r, i = np.ascontiguousarray(r, "u8"), np.ascontiguousarray(i, "u4")
    if np.any((r[1:] < r[:-1]) | ((r[1:] == r[:-1]) & (i[1:] < i[:-1]))):
        raise ValueError("outputs must be emitted in the order of the records that caused them")
    n: np.ndarray[Any, np.dtype[np.uint32]] = _ordinals(
        r, i, np.ascontiguousarray(partition, "u1"), kind
    )
    return n


def pack(
    kind: str,
    records: Records,
    names: Sequence[tuple[str, str, str, int]],
    group: Ints,
    exponents: Sequence[tuple[int, int]],
) -> Iterable[Output]:
    """Pack records (N,) into frames; `group` (N,) indexes `names` and `exponents`.

    A name is (spec, venue, symbol, partition). Order within a subject is kept; subjects come in
    the order of their first record.
    """
    shape = KINDS[kind]
    most = max(1, FRAME_RECORDS_BYTES // shape.dtype.itemsize)
    present, first = np.unique(group, return_index=True)
    for which in present[np.argsort(first)]:
        spec, venue, symbol, partition = names[which]
        subject = derived(ROOTS[kind], spec, venue, symbol, partition)
        chosen = np.ascontiguousarray(records[group == which])
        for begin in range(0, len(chosen), most):
            part = chosen[begin : begin + most]
            price, quantity = exponents[which]
            payload = frame.encode(shape, part, int(part["at_r"][-1]), price, quantity)
            yield Output(partition, subject, payload)


def numbered_events(made: Sequence[Derived], n: Ints) -> tuple[Derived, ...]:
    """Return the events with their `n` set."""
    return tuple(
        event.model_copy(update={"n": int(number_)}) for event, number_ in zip(made, n, strict=True)
    )


def pack_events(
    kind: str, made: Iterable[tuple[Event, tuple[str, str, str, int]]]
) -> Iterable[Output]:
    """Pack JSON events, one a message, under their names (as in `pack`)."""
    for event, (spec, venue, symbol, partition) in made:
        subject = derived(ROOTS[kind], spec, venue, symbol, partition)
        yield Output(partition, subject, events.encode(event))


def dead_letter(processor: Processor, letter: Letter, n: int) -> Output:
    """Return a dead letter of `processor` as a message of OUT."""
    event = DeadLetter(
        at_r=letter.r,
        at_i=letter.i,
        n=n,
        processor=processor.name,
        subject=letter.subject,
        reason=letter.reason[:1_000],
        policy=processor.poison,
        payload=base64.b64encode(letter.payload[:PAYLOAD_BYTES_MAX]).decode(),
    )
    subject = f"dlq.{processor.name}.{partition_token(letter.partition)}"
    return Output(letter.partition, subject, events.encode(event))
