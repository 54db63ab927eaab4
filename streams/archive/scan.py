"""Records of LOG as an Arrow table, for notebooks: archive and log as one.

    from tidemill.streams import scan

    trades = scan("trade", ["BTCUSDT.BINANCE"], archive=".tidemill/archive", nats=URL)
    trades.to_pandas()                    # r, i, symbol, venue, ts_event, ..., price, quantity, ...

What is sealed (LOG is every ten minutes, million messages or 256 MB) needs no server at all: leave
out `nats`. What is not sealed yet comes from NATS, whose URL `tidemill urls` prints as nats_engine.
Derived records are not in LOG: their tables have them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # the package ships no types

from tidemill.schemas.errors import Unavailable
from tidemill.schemas.frame import Kind
from tidemill.schemas.identifiers import InstrumentId
from tidemill.schemas.kinds import KINDS
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.records import batch, schema
from tidemill.streams.archive.sealed_file import SealedFile
from tidemill.streams.archive.store import Store
from tidemill.streams.filters import Matcher
from tidemill.streams.log import Log, Message

PULL_MESSAGES, PULL_BYTES, PULL_S = 1_000, 8 << 20, 10.0


def scan(
    kind: str,
    instruments: Sequence[str] | None = None,
    r0: int = 1,
    r1: int | None = None,
    *,
    archive: str | Path = "",
    nats: str = "",
    stream: str = "LOG",
) -> Any:
    """Return the records of `kind` with r0 <= r <= r1 as a pyarrow.Table, in order of (r, i).

    `instruments` are ``SYMBOL.VENUE``, None for all. Columns: r, i, symbol, venue, then the kind's
    fields: prices and quantities decimal128(38, 18), times timestamp[ns, UTC], enumerations by
    name. `archive` is a directory or s3:// URL, `nats` the URL of the engine's NATS; at least one
    is needed, and with both what is sealed comes from the archive.

    Raises ValueError for a kind that LOG does not hold; Unavailable where a server or the archive
    is away, or nothing is sealed and `nats` is left out; Regressed where the archive is damaged or
    not this LOG's; Unreadable for a number that decimal128(38, 18) cannot hold.
    """
    found = KINDS.get(kind)
    if found is None or "at_r" in (found.dtype.names or ()):
        known = ", ".join(k.name for k in KINDS.values() if "at_r" not in (k.dtype.names or ()))
        raise ValueError(f"LOG holds no {kind!r}; it holds {known}")
    if not (archive or nats):
        raise ValueError("say where: archive=..., nats=..., or both")
    filters = subjects(found, instruments)
    if nats:
        if archive:
            Store.at(str(archive), create=False).names()  # one that is not there is a slip
        read = _from_nats(found, filters, r0, r1, str(archive), nats, stream)
        with ThreadPoolExecutor(1) as pool:  # a notebook has a loop of its own in this thread
            batches = pool.submit(asyncio.run, read).result()
    else:
        batches = list(sealed(found, filters, r0, r1, str(archive)))
    return pa.Table.from_batches(batches, schema(found)).unify_dictionaries()


def subjects(kind: Kind, instruments: Sequence[str] | None) -> list[str]:
    """Return the filters of a kind's facts. Raises ValueError for no instrument id."""
    if kind.name == "time":
        return ["time"]
    if instruments is None:
        return [f"md.{kind.name}.>"]
    ids = sorted({InstrumentId.parse(text) for text in instruments})
    return [f"md.{kind.name}.{one.venue}.{one.symbol}.*" for one in ids]


def sealed(
    kind: Kind, filters: Sequence[str], r0: int, r1: int | None, location: str
) -> Iterator[Any]:
    """Yield what the archive alone has, a row group at a time, in flat memory."""
    archive = Archive.unattested(Store.at(location, create=False))
    if not archive.end:
        raise Unavailable(
            f"archive {location} has nothing sealed yet: nats=... reads what LOG holds"
            " (`tidemill urls` prints the URL, as nats_engine)"
        )
    last = archive.end if r1 is None else min(r1, archive.end)
    matcher, r, chain = Matcher(filters), max(r0, 1), ""
    while r <= last:
        file = archive.open_file(r, chain)
        try:
            yield from _of_file(kind, file, matcher, r, last)
        finally:
            file.close()
        r, chain = file.range.r1 + 1, file.range.chain


def _of_file(kind: Kind, file: SealedFile, matcher: Matcher, r: int, last: int) -> Iterator[Any]:
    if not file.has(matcher):
        return
    for group in range(file.group_of(r), file.groups):
        messages = file.read(group, matcher, r)
        if file.end_of(group) > last:
            messages = [message for message in messages if message.sequence <= last]
        made = batch(kind, messages)
        if made is not None:
            yield made
        if file.end_of(group) >= last:
            return


async def _from_nats(
    kind: Kind,
    filters: Sequence[str],
    r0: int,
    r1: int | None,
    archive: str,
    nats: str,
    stream: str,
) -> list[Any]:
    from tidemill.streams.jetstream import JetStreamLog
    from tidemill.streams.jetstream_connection import connect

    connection = await connect(nats, name="scan")
    try:
        inner = await JetStreamLog.open(connection, stream)
        log = ArchivedLog(inner, archive, sealed_first=bool(archive))
        last = (await log.identity()).last
        last = last if r1 is None else min(last, r1)
        made = [batch(kind, m) async for m in messages(log, filters, r0, last)]
    finally:
        await connection.close()
    return [one for one in made if one is not None]


async def messages(
    log: Log, filters: Sequence[str], r0: int, last: int
) -> AsyncIterator[list[Message]]:
    """Yield the messages with r0 <= r <= last, in order. Raises Unavailable."""
    reader = await log.read(r0, filters)
    try:
        while await reader.complete() < last:
            pulled = await reader.pull(PULL_MESSAGES, PULL_BYTES, PULL_S)
            if pulled:
                yield [message for message in pulled if message.sequence <= last]
                if pulled[-1].sequence >= last:
                    return
            elif await reader.complete() < last:
                raise Unavailable(f"{log.name} gave nothing for {PULL_S} s")
    finally:
        await reader.close()
