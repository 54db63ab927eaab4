"""What came of a log: the rows and digest of every table, and a digest of all that was derived."""

import hashlib
from typing import Any

from tidemill.deploy.replaying import digests, made
from tidemill.projections.registry import TABLES
from tidemill.projections.rows import Rows, Text
from tidemill.projections.sources import Mark
from tidemill.projections.sources import source as source_of
from tidemill.projections.verify import digest_of
from tidemill.schemas import events, kinds
from tidemill.schemas.exact import INT128, to_ints
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.kinds.quote import TS_NONE
from tidemill.streams import subjects
from tidemill.streams.log import Log
from tidemill.streams.subjects import OUT_SUBJECTS


async def outcome(log: Log, out: Log) -> dict[str, Any]:
    """Return the digest of every table, and under OUT that of every derived record and event."""
    return {**await digests(log, out), "OUT": await derived(out)}


async def derived_outcome(log: Log, out: Log) -> dict[str, Any]:
    """Return the outcome of what is made in OUT: all but the tables of facts, quick to compute."""
    last = (await log.identity()).last
    tables = {name: TABLES[name] for name in ("bars", "prices")}
    found = {name: await digest_of(t, made(t, log, out), last) for name, t in tables.items()}
    return {**found, "OUT": await derived(out)}


async def derived(out: Log) -> tuple[int, str]:
    """Return how many records OUT holds, and their digest in logical order; transport is left out:
    neither sequences nor how records were cut into frames."""
    rows: list[tuple[Any, ...]] = []
    reader = await out.read(1, [subject for subject in OUT_SUBJECTS if subject != "ckpt.>"])
    end = (await out.identity()).last
    while (messages := await reader.pull(10_000, 1 << 30, 0.1)) or await reader.complete() < end:
        for _, name, payload in messages:
            if subjects.parse(name).kind in KINDS:
                frame = kinds.decode(payload)
                exponents = (frame.price_exponent, frame.quantity_exponent)
                for record in frame.records:
                    at = (int(record["at_r"]), int(record["at_i"]), int(record["n"]))
                    rows.append((name, *at, exponents, record.tobytes()))
            else:
                event = events.decode(payload)
                assert isinstance(event, events.Derived)
                rows.append((name, event.at_r, event.at_i, event.n, (), payload))
    await reader.close()
    assert len({row[:4] for row in rows}) == len(rows), "a derived record stands twice"
    return len(rows), hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()


async def rows_of(name: str, log: Log, out: Log) -> list[dict[str, Any]]:
    """Return the rows of a table in logical order, exact numbers as integers at 18 places."""
    identity = await log.identity()
    reading = source_of(TABLES[name], log, out, identity.uuid)
    await reading.open(1, Mark(0, 1))
    rows: list[dict[str, Any]] = []
    done = 0
    while done < identity.last:
        batch = await reading.next(0.1)
        if batch is not None:
            done = batch.done
            rows += plain(batch.rows) if batch.rows is not None else []
    await reading.close()
    return rows


def plain(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as dictionaries of Python's own types."""
    columns = {}
    for name, column in rows.columns.items():
        if isinstance(column, Text):
            columns[name] = [column.values[code].decode() for code in column.codes]
        elif column.dtype == INT128:
            columns[name] = to_ints(column)
        else:
            columns[name] = [None if v == TS_NONE else v for v in column.tolist()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
