"""One range of LOG on its way into a Parquet file, in bounded memory."""

import base64
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import orjson
import pyarrow as pa  # type: ignore[import-untyped]  # the package ships no types
import zstandard
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict

from tidemill.schemas import kinds
from tidemill.schemas.errors import Unavailable, Unreadable
from tidemill.streams import crash_points
from tidemill.streams.archive import chain
from tidemill.streams.archive.store import FINISHED, Store
from tidemill.streams.log import Message

GROUP_BYTES = 8 << 20
"""Payload bytes of a row group, about: what readers hold at a time."""
GROUP_MESSAGES = 65_536
RANGE_KEY, LASTS_KEY = b"tidemill", b"tidemill.lasts"
SCHEMA = pa.schema(
    [
        ("r", pa.uint64()),
        ("subject", pa.dictionary(pa.int32(), pa.string())),
        ("payload", pa.binary()),
    ]
)


class Range(BaseModel):
    """What a file holds, as its metadata says: LOG's messages `r0` to `r1`, all of them.

    `before` and `chain` are LOG's digest chain (hex) at r0 - 1 and at r1; `ts` is the newest `time`
    up to r1 (ns, 0 for none).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: str
    r0: int
    r1: int
    ts: int
    before: str
    chain: str

    @property
    def name(self) -> str:
        """The file's name; names sort by range."""
        return f"{self.r0:020d}-{self.r1:020d}{FINISHED}"

    @property
    def messages(self) -> int:
        """How many they are."""
        return self.r1 - self.r0 + 1


def range_of(name: str) -> tuple[int, int]:
    """Return (r0, r1) of a file's name. Raises Unreadable for another name."""
    first, dash, last = name.removesuffix(FINISHED).partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise Unreadable(f"{name} is no name of a sealed range")
    return int(first), int(last)


class Segment:
    """Writes the messages of LOG after `before`, without a hole, to an unfinished file.

    `lasts` are the newest sequences of all subjects of LOG up to there: they are written along, so
    that the newest file of an archive knows the newest message of every subject.
    """

    def __init__(self, store: Store, before: Range | None, log: str, lasts: dict[str, int]) -> None:
        self.bytes = 0
        self._store, self._log = store, log
        self._first = before.r1 + 1 if before else 1
        self._next = self._first
        self._before = bytes.fromhex(before.chain) if before else chain.begin(log)
        self._chain = self._before
        self._ts = before.ts if before else 0
        self._since = self._ts
        self._lasts = dict(lasts)
        self._group: list[Message] = []
        self._group_bytes = 0
        self._name = f"{self._first:020d}-{uuid4().hex}"
        self._file = store.write(self._name)
        self._parquet = parquet.ParquetWriter(
            self._file,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=["subject"],
            write_statistics=["r"],
            write_page_checksum=True,
        )

    @property
    def messages(self) -> int:
        """How many messages it has."""
        return self._next - self._first

    @property
    def age_ns(self) -> int:
        """How long ago the range before ended, or this one began, by `time` of LOG."""
        return self._ts - self._since

    def add(self, messages: Sequence[Message]) -> None:
        """Take the next messages. Raises ValueError for a hole, Unavailable."""
        self._chain = chain.extend(self._chain, messages)
        for message in messages:
            if message.sequence != self._next:
                raise ValueError(f"message {message.sequence} after {self._next - 1}")
            self._next += 1
            self._lasts[message.subject] = message.sequence
            if message.subject == "time":
                self._ts = max(self._ts, _time(message.payload))
                self._since = self._since or self._ts
            self._group.append(message)
            self.bytes += len(message.payload)
            self._group_bytes += len(message.payload)
            if self._group_bytes >= GROUP_BYTES or len(self._group) >= GROUP_MESSAGES:
                self._flush()

    def _flush(self) -> None:
        sequences, subjects, payloads = zip(*self._group, strict=True)
        columns = [
            pa.array(sequences, pa.uint64()),
            pa.array(subjects, pa.string()).dictionary_encode(),
            pa.array(payloads, pa.binary()),
        ]
        try:
            self._parquet.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
        except OSError as error:
            raise Unavailable(f"archive {self._name}: {error}") from error
        self._group, self._group_bytes = [], 0
        crash_points.reach("archive.seal.writing")

    def finish(self) -> Range:
        """Have the file whole, durable and under its own name; return what it holds.

        Raises Unavailable.
        """
        made = Range(
            log=self._log,
            r0=self._first,
            r1=self._next - 1,
            ts=self._ts,
            before=self._before.hex(),
            chain=self._chain.hex(),
        )
        if self._group:
            self._flush()
        self._parquet.add_key_value_metadata(
            {RANGE_KEY: made.model_dump_json().encode(), LASTS_KEY: packed(self._lasts)}
        )
        try:
            self._parquet.close()
            self._file.close()
            self._store.persist(self._name)
        except OSError as error:
            raise Unavailable(f"archive {made.name}: {error}") from error
        crash_points.reach("archive.seal.written")
        self._store.finish(self._name, made.name)
        crash_points.reach("archive.seal.renamed")
        return made

    def abandon(self) -> None:
        """Leave the file unfinished, for the next archiver to delete."""
        with suppress(OSError):
            self._parquet.close()
            self._file.close()


def packed(lasts: dict[str, int]) -> bytes:
    """Return subjects and sequences as text that a footer can hold."""
    return base64.b64encode(zstandard.compress(orjson.dumps(lasts)))


def unpacked(text: bytes) -> dict[str, int]:
    """Return what `packed` was given."""
    found: dict[str, int] = orjson.loads(zstandard.decompress(base64.b64decode(text)))
    return found


def _time(payload: bytes) -> int:
    try:
        return int(kinds.decode(payload).records["ts"][-1])
    except (Unreadable, ValueError):
        return 0  # whoever steps it says what is wrong with it
