"""Snapshots: an engine's state as files beside the log; a missing one costs only time."""

import hashlib
import os
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import zstandard

from tidemill.schemas import events
from tidemill.schemas.errors import Unavailable
from tidemill.schemas.events.instrument import InstrumentDefined
from tidemill.streams import crash_points
from tidemill.streams.durable import sync
from tidemill.streams.runtime.engine import Held, Section
from tidemill.streams.runtime.graph import Graph

_NAME = re.compile(r"(\d{20})-([0-9a-f]{16})\.snap")
_MAGIC = b"TIDEMILL2"
_LEVEL = 1
KEPT = 3
"""Snapshots that stay of each partition."""


class Saved(NamedTuple):
    """A snapshot file: state after every record with sequence <= `r`, for `partitions`."""

    r: int
    partitions: frozenset[int]
    path: Path


class Loaded(NamedTuple):
    """What a snapshot holds: newest `time` (ns), `out_from` as in a checkpoint, and sections."""

    ts: int
    out_from: int
    sections: list[Section]


class Snapshots:
    """Snapshots of one graph, one log and one code hash, in `folder`/<graph>/<log>-<code>.

    A file's name holds `r` and the SHA-256 of its bytes, so a torn or changed file is not read; nor
    is one of other processors than the graph's, whose state would begin in the middle of the log.
    """

    def __init__(self, folder: Path, graph: Graph, log: str, code: str) -> None:
        self._graph = graph
        self._processors = [
            [p.name, p.version, p.key, str(p.state.descr)] for p in graph.processors
        ]
        self._folder = folder / graph.name / f"{log}-{code}"
        self._folder.mkdir(parents=True, exist_ok=True)

    def write(self, r: int, ts: int, out_from: int, sections: list[Section]) -> Path:
        """Write one durably (temporary name, fsync, rename) and drop those it replaces.

        `out_from` is as in a checkpoint.
        """
        arrays: list[bytes] = []
        heads = [_head(section, arrays) for section in sections]
        head = {
            "r": r,
            "ts": ts,
            "out_from": out_from,
            "processors": self._processors,
            "sections": heads,
        }
        text = orjson.dumps(head, option=orjson.OPT_NON_STR_KEYS)
        body = b"".join((_MAGIC, struct.pack("<Q", len(text)), text, *arrays))
        path = self._folder / f"{r:020d}-{hashlib.sha256(body).hexdigest()[:16]}.snap"
        temporary = path.with_suffix(f".{os.getpid()}.part")
        crash_points.reach("graph.snapshot.writing")
        with temporary.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        crash_points.reach("graph.snapshot.renaming")
        temporary.rename(path)
        crash_points.reach("graph.snapshot.renamed")
        sync(self._folder)
        crash_points.reach("graph.snapshot.written")
        self._drop()
        crash_points.reach("graph.snapshot.dropped")
        return path

    def newest(self, done: dict[int, int]) -> dict[int, Saved]:
        """Return, for each partition, the newest snapshot that is not past its `done`."""
        found: dict[int, Saved] = {}
        for saved in self._files():
            for partition in saved.partitions & done.keys():
                if saved.r <= done[partition]:
                    found.setdefault(partition, saved)
        return found

    def load(self, saved: Saved, partitions: frozenset[int]) -> Loaded:
        """Return what a file holds of `partitions`. Raises Unavailable for one that was dropped or
        damaged since `newest` found it: another look finds an older one.
        """
        try:
            body = saved.path.read_bytes()
        except FileNotFoundError as error:
            raise Unavailable(f"{saved.path} was replaced by a newer snapshot") from error
        if hashlib.sha256(body).hexdigest()[:16] not in saved.path.name:
            raise Unavailable(f"{saved.path} is damaged")
        head, start = _read_head(body)
        states = {p.name: p.state for p in self._graph.processors}
        sections = []
        for section in head["sections"]:
            parts = {}
            for name, (at, size, parked, letters_at) in section["parts"].items():
                held = zstandard.decompress(body[start + at : start + at + size])
                array = np.frombuffer(held, states[name])
                parts[name] = Held(array, {int(k): r for k, r in parked.items()}, letters_at)
            if section["partition"] in partitions:
                definitions = [InstrumentDefined.model_validate(d) for d in section["definitions"]]
                feeds = [(venue, product) for venue, product in section["feeds"]]
                fees = {(venue, product): (t, m) for venue, product, t, m in section["fees"]}
                settings = {s: events.decode(text.encode()) for s, text in section["settings"]}
                sections.append(
                    Section(section["partition"], definitions, feeds, parts, fees, settings)
                )
        return Loaded(head["ts"], head["out_from"], sections)

    def _files(self) -> list[Saved]:
        """Return the files that verify, newest first."""
        found = []
        for path in sorted(self._folder.glob("*.snap"), reverse=True):
            match = _NAME.fullmatch(path.name)
            try:
                body = path.read_bytes() if match else b""
            except FileNotFoundError:  # another shard dropped it after writing a newer one
                continue
            if match and hashlib.sha256(body).hexdigest()[:16] == match[2]:
                head, _ = _read_head(body)
                if head["processors"] != self._processors:
                    continue
                owned = frozenset(section["partition"] for section in head["sections"])
                found.append(Saved(int(match[1]), owned, path))
        return found

    def _drop(self) -> None:
        """Drop files that have KEPT newer ones for each of their partitions, in whatever shards."""
        newer: Counter[int] = Counter()
        for saved in self._files():
            if all(newer[partition] >= KEPT for partition in saved.partitions):
                saved.path.unlink(missing_ok=True)
            newer.update(saved.partitions)


def _head(section: Section, arrays: list[bytes]) -> dict[str, object]:
    """Describe a section, whose rows come to `arrays`: compressed, for books are mostly room."""
    parts = {}
    at = sum(map(len, arrays))
    for name, (rows, parked, letters_at) in section.parts.items():
        packed = zstandard.compress(np.ascontiguousarray(rows).view(np.uint8).data, _LEVEL)
        parts[name] = (at, len(packed), parked, letters_at)
        at += len(packed)
        arrays.append(packed)
    definitions = [definition.model_dump(mode="json") for definition in section.definitions]
    return {
        "partition": section.partition,
        "definitions": definitions,
        "feeds": section.feeds,
        "fees": [(*feed, *fees) for feed, fees in section.fees.items()],
        "settings": [(s, events.encode(e).decode()) for s, e in section.settings.items()],
        "parts": parts,
    }


def _read_head(body: bytes) -> tuple[dict[str, Any], int]:
    (length,) = struct.unpack_from("<Q", body, len(_MAGIC))
    start = len(_MAGIC) + 8
    return orjson.loads(body[start : start + length]), start + length
