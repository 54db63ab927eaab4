"""The whole check: OUT sorted by roots, then LOG from its first message on with all that it says.

Memory is bounded by a range of LOG, whatever its length: some 4 MB of it, what is derived of it,
and the rows of it in ClickHouse.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import asyncpg
import clickhouse_connect
import nats

from tidemill.tests.faults.checker import rows as table_rows
from tidemill.tests.faults.checker.appended import Appended, Confirmed, Identity, decoded
from tidemill.tests.faults.checker.batches import Batches
from tidemill.tests.faults.checker.checkpoints import (
    Progress,
    check_history,
    check_identity,
    fields_of,
    progress_of,
)
from tidemill.tests.faults.checker.fences import Fences
from tidemill.tests.faults.checker.ledger import LATEST, Definitions, Latest, compare_ledger
from tidemill.tests.faults.checker.memory import Sample, check_memory
from tidemill.tests.faults.checker.messages import Message, parse
from tidemill.tests.faults.checker.recomputed import Recomputed, compare
from tidemill.tests.faults.checker.rows import Piece
from tidemill.tests.faults.checker.servers import Urls
from tidemill.tests.faults.checker.sinks import Book, check_sinks
from tidemill.tests.faults.checker.spool import Derived, Spool
from tidemill.tests.faults.checker.streams import Stream
from tidemill.tests.faults.checker.tables import (
    VIEW_KEYS,
    ClickHouse,
    Physical,
    check_versions,
    check_views,
    compare_rows,
)
from tidemill.tests.faults.checker.verdicts import FINDINGS_MAX, Verdicts


@dataclass(frozen=True)
class Witness:
    """What was written down outside of the engine while it ran; none of it must be there."""

    confirmed: Confirmed | None = None
    history: list[Message] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Stores(NamedTuple):
    """Both databases."""

    house: ClickHouse
    postgres: "asyncpg.Connection[asyncpg.Record]"
    tables: list[Physical]
    book: Book
    kept: "dict[str, Latest | Definitions]"


class Range(NamedTuple):
    """What one range of LOG says: records by kind, and events with their roots."""

    first: int
    last: int
    pieces: dict[str, list[Piece]]
    events: dict[str, list[tuple[int, Mapping[str, Any]]]]


async def check(
    urls: Urls, witness: Witness | None = None, findings_max: int = FINDINGS_MAX
) -> Verdicts:
    """Check an engine that is not fed any more, by its servers."""
    verdicts, witness = Verdicts(findings_max), witness or Witness()
    client = await nats.connect(urls.nats)
    try:
        log, out = Stream(client, "LOG"), Stream(client, "OUT")
        identity = await log.identity()
        with TemporaryDirectory() as directory:
            spool = await _read_out(out, Spool(Path(directory), verdicts), verdicts)
            async with _stores(urls) as stores:
                await _read_log(log, identity, spool, stores, witness.confirmed, verdicts)
                await _end(stores, identity, verdicts)
    finally:
        await client.close()
    check_history([*witness.history], verdicts)
    check_memory(witness.samples, verdicts)
    if not witness.samples:
        verdicts.without("I11", "the log does not tell; no samples of memory were given")
    if not witness.history:
        verdicts.without("I4", "checkpoints that were replaced; nobody wrote them down")
    verdicts.without("I13", "there are no order streams yet")
    return verdicts


async def _read_out(out: Stream, spool: Spool, verdicts: Verdicts) -> Spool:
    identity = await out.identity()
    batches = Batches("OUT", verdicts, transactional=True)
    fences = Fences("OUT", identity.first, verdicts)
    async for messages in out.messages(1, identity.last):
        for message in messages:
            batches.take(message)
            fences.take(message)
            spool.take(message)
    batches.end(identity.last)
    return spool


async def _read_log(
    log: Stream,
    identity: Identity,
    spool: Spool,
    stores: Stores,
    confirmed: Confirmed | None,
    verdicts: Verdicts,
) -> None:
    checkpoints = list(spool.checkpoints.values())
    progress = progress_of(checkpoints)
    appended = Appended(identity, verdicts, confirmed, await _sealed(log, identity))
    recomputed, tails = Recomputed(), dict.fromkeys(
        (int(fields_of(one)["done"]) for one in checkpoints), b""
    )  # fmt: skip
    if identity.first > 1:
        for name in ("I3", "I7", "I8", "I10"):
            verdicts.without(name, f"LOG begins at {identity.first}: the archive has the rest")
    begun = identity.first
    async for messages in log.messages(identity.first, identity.last):
        said = Range(begun, messages[-1].sequence, defaultdict(list), defaultdict(list))
        for message in messages:
            frame, event = decoded(message)
            appended.take(message, frame, event)
            if message.sequence in tails:
                tails[message.sequence] = message.payload
            if identity.first == 1:
                recomputed.take(message, frame, event)
            _note(said, message, frame, event)
        if identity.first == 1:
            await asyncio.to_thread(_judge, said, recomputed, spool, stores, progress, verdicts)
        begun = messages[-1].sequence + 1
    appended.end()
    known = {r: payload for r, payload in tails.items() if r >= max(identity.first, 1)}
    check_identity(checkpoints, identity, known, verdicts)
    rest = spool.range(identity.last + 1, max(spool.newest, identity.last + 1))
    compare({}, (), rest, progress, verdicts)


async def _sealed(log: Stream, identity: Identity) -> dict[int, str]:
    found = {}
    async for messages in log.messages(identity.first, identity.last, "ctl.archive.sealed"):
        for message in messages:
            event = decoded(message)[1]
            if event is not None and event["event"].startswith("RangeSealed."):
                found[int(event["r1"])] = str(event["chain"])
    return found


def _note(said: Range, message: Message, frame: Any, event: Mapping[str, Any] | None) -> None:
    subject = parse(message.subject)
    if subject is None or subject.root not in ("md", "time", "ctl"):
        return
    if subject.root == "ctl":
        if subject.spec == "screens" and event is not None:
            said.events["screens"].append((message.sequence, event))
        return
    if frame is not None and frame.kind == subject.kind:
        piece = Piece(message.sequence, message.subject, frame.exponents, frame.records)
        said.pieces[frame.kind].append(piece)
    elif event is not None:
        said.events[subject.kind].append((message.sequence, event))


def _judge(
    said: Range,
    recomputed: Recomputed,
    spool: Spool,
    stores: Stores,
    progress: Progress,
    verdicts: Verdicts,
) -> None:
    """Compare one range: what is derived, then the tables."""
    derived = list(spool.range(said.first, said.last))
    expected, letters = recomputed.expected, recomputed.letters
    compare(expected, letters, derived, progress, verdicts, recomputed.unjudged)
    recomputed.expected, recomputed.letters = {}, []
    once = _once(derived)
    for one in once:
        if one.records is not None:
            said.pieces[one.kind].append(Piece(0, one.subject, one.exponents, one.records))
        elif one.event is not None:
            said.events[one.kind].append((one.event["at_r"], one.event))
    for physical in stores.tables:
        _table(said, physical, stores, progress, verdicts)
    for name, kept in stores.kept.items():
        _keep(said, name, kept)


def _once(derived: Iterable[Derived]) -> list[Derived]:
    """Each position once: that one comes again is another invariant's matter."""
    seen: set[tuple[Any, ...]] = set()
    made = []
    for one in derived:
        if one.records is None:
            made.append(one)
            continue
        keys = [(one.kind, *at) for at in one.records[["at_r", "at_i", "n"]].tolist()]
        mask = [key not in seen for key in keys]
        seen.update(keys)
        made.append(one if all(mask) else one._replace(records=one.records[mask]))
    return made


def _table(
    said: Range, physical: Physical, stores: Stores, progress: Progress, verdicts: Verdicts
) -> None:
    kind, columns, width = physical.kind, physical.columns, physical.width
    if kind in ("event", "feed", "screens"):
        expected = table_rows.of_events(kind, columns, said.events[kind], width)
    else:
        expected = table_rows.of_pieces(kind, columns, said.pieces[kind], width)
    where = f"_r >= {said.first} AND _r <= {said.last}"
    found = stores.house.read(physical, physical.name, columns, where)
    position = stores.book.position(physical.name)
    compare_rows(physical.name, expected, found, position, verdicts)


def _keep(said: Range, name: str, kept: "Latest | Definitions") -> None:
    if isinstance(kept, Definitions):
        for r, event in said.events["instrument"]:
            kept.take(r, event)
        return
    for piece in said.pieces[kept.kind]:
        kept.take(piece)


@asynccontextmanager
async def _stores(urls: Urls) -> AsyncIterator[Stores]:
    client = await asyncio.to_thread(clickhouse_connect.get_client, dsn=urls.clickhouse)
    connection = await asyncpg.connect(urls.postgres)
    try:
        house = ClickHouse(client)
        fences = dict(house.rows("SELECT t, max(epoch) FROM fence GROUP BY t"))
        book = Book(
            {row["t"]: row for row in await connection.fetch("SELECT * FROM sink")},
            {row["t"]: row for row in await connection.fetch("SELECT * FROM physical")},
            {row["name"]: row["t"] for row in await connection.fetch("SELECT * FROM active")},
            fences,
        )
        kept: dict[str, Latest | Definitions] = {}
        for table, row in book.physical.items():
            name = table.partition("__")[0]
            if row["state"] == "retired":
                continue
            if name in LATEST:
                kept[table] = Latest(name, book.position(table))
            elif name == "instruments":
                kept[table] = Definitions(name, book.position(table))
        yield Stores(house, connection, house.tables(), book, kept)
    finally:
        await connection.close()
        await asyncio.to_thread(client.close)


async def _end(stores: Stores, identity: Identity, verdicts: Verdicts) -> None:
    """What is judged once: views, versions, ledgers, positions."""
    check_sinks(stores.book, identity, verdicts)
    for table, kept in stores.kept.items():
        if identity.first == 1:
            found = [dict(row) for row in await stores.postgres.fetch(f"SELECT * FROM {table}")]
            compare_ledger(table, kept, found, verdicts)
    await asyncio.to_thread(_end_of_clickhouse, stores, identity, verdicts)


def _end_of_clickhouse(stores: Stores, identity: Identity, verdicts: Verdicts) -> None:
    versions: dict[str, list[Physical]] = defaultdict(list)
    positions = {one.name: stores.book.position(one.name) for one in stores.tables}
    for physical in stores.tables:
        versions[physical.of].append(physical)
        beyond = f"SELECT count() FROM {physical.name} WHERE _r > {identity.last}"
        ((count,),) = stores.house.rows(beyond)
        if count:
            verdicts.broken("I7", physical.name, f"no row beyond {identity.last}", count)
        if physical.of in VIEW_KEYS:
            keys, as_of = VIEW_KEYS[physical.of], positions[physical.name]
            check_views(stores.house, physical, as_of, keys, verdicts)
    for several in versions.values():
        if len(several) > 1:
            check_versions(stores.house, several, positions, verdicts)
