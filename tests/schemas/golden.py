"""The golden corpus: frames and events of every version ever published, with their hashes.

``python -m tidemill.tests.schemas.golden`` adds what is missing and refuses to change anything: a
file that would come out differently is a broken promise to every log that exists.
"""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from tidemill.schemas import events, examples, frame, kinds
from tidemill.schemas.events import EVENTS
from tidemill.schemas.frame import Frame, Kind
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.rows import from_rows, to_rows

CORPUS = Path(__file__).parent / "corpus"
HASHES = "hashes.json"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(content: Any) -> bytes:
    """One text for equal contents, integers of any size in full."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def as_of(kind: Kind, version: int) -> Kind:
    """The kind as it was at `version`."""
    return replace(kind, fields=tuple(f for f in kind.fields if f.since <= version), upcast=None)


def frame_content(decoded: Frame, version: int) -> dict[str, Any]:
    """What a frame says, in the fields that its version had: later fields must not change it."""
    known = [field.name for field in as_of(decoded.kind, version).fields]
    rows = [{name: row[name] for name in known} for row in to_rows(decoded)]
    root = dict(zip(("sequence", "price_exponent", "quantity_exponent"), decoded[1:4], strict=True))
    return {"kind": decoded.kind.name, **root, "flags": decoded.flags, "rows": rows}


def version_of(name: str) -> int:
    """The version in a file's name, as 2 in ``trade.v2.extremes.sbe``."""
    return int(name.split(".")[1].removeprefix("v"))


def content_of(name: str, payload: bytes) -> dict[str, Any]:
    """Decode a file of the corpus."""
    if name.endswith(".sbe"):
        return frame_content(kinds.decode(payload), version_of(name))
    fields = orjson.loads(payload)
    event = EVENTS[fields.pop("event")].read(fields)
    return {"event": event.tag(), **event.model_dump(mode="json")}


def encode_again(name: str, payload: bytes) -> bytes:
    """Decode a file of the corpus and encode what was decoded, as its version did."""
    if name.endswith(".json"):
        fields = orjson.loads(payload)
        return events.encode(EVENTS[fields.pop("event")].read(fields))
    decoded, version = kinds.decode(payload), version_of(name)
    then = as_of(decoded.kind, version)
    records = from_rows(then, frame_content(decoded, version)["rows"])
    return frame.encode(then, records, *decoded[1:5])


def current() -> dict[str, bytes]:
    """What the corpus must hold of the versions of today, by file name."""
    files = {}
    for name, kind in KINDS.items():
        files[f"{name}.v{kind.version}.example.sbe"] = examples.encoded(name)
        rows = from_rows(kind, examples.extremes(kind))
        extreme = frame.encode(kind, rows, 2**64 - 1, -18, 9, 2**16 - 1)
        files[f"{name}.v{kind.version}.extremes.sbe"] = extreme
    return files | {f"{tag}.json": events.encode(event) for tag, event in examples.EVENTS.items()}


def add(corpus: Path) -> list[str]:
    """Add what `corpus` lacks and return its names. Raises ValueError before changing anything."""
    corpus.mkdir(exist_ok=True)
    listed = corpus / HASHES
    hashes: dict[str, dict[str, str]] = json.loads(listed.read_text()) if listed.exists() else {}
    files = current()
    for name, payload in files.items():
        path = corpus / name
        if (path.exists() and path.read_bytes() != payload) or (
            name in hashes and hashes[name] != _hashes(name, payload)
        ):
            raise ValueError(f"{name} is published and would change; add a version instead")
    added = sorted(name for name in files if not (corpus / name).exists())
    for name in added:
        (corpus / name).write_bytes(files[name])
        hashes[name] = _hashes(name, files[name])
    listed.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    return added


def _hashes(name: str, payload: bytes) -> dict[str, str]:
    return {"bytes": sha256(payload), "content": sha256(canonical(content_of(name, payload)))}


if __name__ == "__main__":
    for added_name in add(CORPUS):
        print(f"added {added_name}", file=sys.stderr)
