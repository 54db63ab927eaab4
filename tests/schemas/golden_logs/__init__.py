"""Golden logs: segments of LOG as released versions wrote them, and what every table made of them.

One file a log, `logs/<number>-<what>.log.zst`: Zstandard over messages, each as the lengths of its
subject (u16) and payload (u32), little endian, then both. `digests.json` has the SHA-256 of each
file, what it holds, and the digests of the tables: under ``<table>__v<version>``, with the version
of the processor for what is derived (``bars__v1 of bars v1``). A log is never changed; a table or
version that came later is added.
"""

import hashlib
import json
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from tidemill.deploy.replaying import made, step
from tidemill.processors.catalog import PROCESSORS
from tidemill.projections.registry import VERSIONS
from tidemill.projections.runtime import only_newest
from tidemill.projections.table import Table
from tidemill.projections.verify import digest_of
from tidemill.schemas import kinds
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS, OUT_SUBJECTS
from tidemill.tests.flow.logs import append

FOLDER = Path(__file__).parent / "logs"
DIGESTS = "digests.json"
ENDING = ".log.zst"
Facts = list[tuple[str, bytes]]
_LENGTHS = struct.Struct("<HI")


def write(facts: Facts) -> bytes:
    """Messages (subject, payload) as the bytes of a golden log; the same for the same messages."""
    plain = bytearray()
    for subject, payload in facts:
        name = subject.encode()
        plain += _LENGTHS.pack(len(name), len(payload)) + name + payload
    return zstandard.ZstdCompressor(level=19).compress(bytes(plain))


def read(data: bytes) -> Facts:
    """The messages of a golden log."""
    return list(_messages(zstandard.ZstdDecompressor().decompress(data)))


def _messages(plain: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(plain):
        name, payload = _LENGTHS.unpack_from(plain, at)
        at += _LENGTHS.size
        yield plain[at : at + name].decode(), plain[at + name : at + name + payload]
        at += name + payload


def held(facts: Facts) -> dict[str, int]:
    """How many records of each kind and version, and events of each tag, a log has."""
    found: Counter[str] = Counter()
    for _, payload in facts:
        if payload.startswith(b"{"):
            found[orjson.loads(payload)["event"]] += 1
        else:
            frame = kinds.decode(payload)
            version = struct.unpack_from("<HHHH", payload)[3]
            found[f"{frame.kind.name}.v{version}"] += len(frame.records)
    return dict(sorted(found.items()))


def key_of(table: Table) -> str:
    """What a table's digest depends on: its version, and that of the processor that derives it."""
    if table.emitted_by is None:
        return table.declared
    version = next(one.version for one in PROCESSORS if one.name == table.emitted_by)
    return f"{table.declared} of {table.emitted_by} v{version}"


KEYS: dict[str, Table] = {key_of(table): table for table in VERSIONS}
"""Every table of this version, the older versions of a name too."""


async def digests(facts: Facts) -> dict[str, dict[str, Any]]:
    """Replay a log through everything, and digest every table of this version."""
    log, out = MemoryLog("LOG", LOG_SUBJECTS), MemoryLog("OUT", OUT_SUBJECTS)
    await append(log, facts)
    await step(log, out)
    last = (await log.identity()).last
    found = {}
    for key, table in KEYS.items():
        rows = made(table, log, out)
        if table.kind == "latest":
            rows = only_newest(table, rows)
        digest = await digest_of(table, rows, last)
        found[key] = {
            "rows": digest.rows,
            "sha256": digest.sha256,
            "content_sha256": digest.content_sha256,
        }
    return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def published(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """What is recorded of every log, by its name."""
    path = folder / DIGESTS
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return found


async def add(sources: dict[str, Facts], folder: Path = FOLDER) -> list[str]:
    """Add a log for each source that has changed since its newest one, and digests of what is new.

    Returns the names of what was added. Raises ValueError, before anything is written, where what
    is published would come out differently.
    """
    listed = published(folder)
    added: list[str] = []
    new: dict[str, bytes] = {}
    for what, facts in sources.items():
        data = write(facts)
        of_it = sorted(name for name in listed if name.split("-", 1)[1] == what)
        if of_it and listed[of_it[-1]]["sha256"] == sha256(data):
            continue
        name = f"{len(listed) + 1:04d}-{what}"
        listed[name] = {"sha256": sha256(data), "messages": len(facts), "holds": held(facts)}
        listed[name]["tables"] = {}
        new[name] = data
        added.append(name)
    for name, entry in listed.items():
        data = new.get(name) or (folder / f"{name}{ENDING}").read_bytes()
        if sha256(data) != entry["sha256"]:
            raise ValueError(f"{name} is published and was changed")
        for key, digest in (await digests(read(data))).items():
            if entry["tables"].setdefault(key, digest) != digest:
                raise ValueError(f"{key} of {name} is published and would change: add a version")
            if digest is entry["tables"][key] and name not in added:
                added.append(f"{name}: {key}")
    folder.mkdir(exist_ok=True)
    for name, data in new.items():
        (folder / f"{name}{ENDING}").write_bytes(data)
    text = json.dumps(listed, indent=1, sort_keys=True) + "\n"
    (folder / DIGESTS).write_text(text)
    return added
