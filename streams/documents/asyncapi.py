"""The AsyncAPI 3.0 document: every subject of LOG and OUT, and the same under ``live.``."""

from typing import Any

from tidemill.schemas.documents import json_schemas
from tidemill.schemas.events import EVENTS
from tidemill.schemas.frame import SCHEMA_ID, Kind
from tidemill.schemas.identifiers import ALL, PARTITIONS, partition_token
from tidemill.schemas.kinds import KINDS
from tidemill.streams.documents.channels import CHECKPOINT, PARAMETERS, Channel, channels
from tidemill.streams.runtime.checkpoint import Checkpoint

VERSION = "1.0.0"
SBE_FILE = "tidemill.sbe.xml"
"""Name of the document that describes the frames."""

_LIVE = (
    " Republished when it is committed; the headers Nats-Stream, Nats-Subject and Nats-Sequence say"
    " where it stands. Subscribe here, not to the stream's own subject: that one also shows"
    " attempts that are refused later."
)


def document() -> dict[str, Any]:
    """Return the AsyncAPI document as plain values."""
    every = channels()
    live = {
        f"live.{name}": channel._replace(address=f"live.{channel.address}", doc=channel.doc + _LIVE)
        for name, channel in every.items()
    }
    described = {name: _channel(channel) for name, channel in (every | live).items()}
    return {
        "asyncapi": "3.0.0",
        "id": "urn:tidemill",
        "info": {
            "title": "Tidemill",
            "version": VERSION,
            "description": "Facts are appended to the stream LOG, what processors derive to OUT.",
        },
        "defaultContentType": "application/json",
        "channels": described,
        "operations": {f"send.{name}": _operation(name, every) for name in described},
        "components": {
            "parameters": {name: _parameter(name) for name in PARAMETERS},
            "messages": _messages(),
            "schemas": _schemas(),
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    parameters = {
        token[1:-1]: _reference("parameters", token[1:-1])
        for token in channel.address.split(".")
        if token.startswith("{")
    }
    return {
        "address": channel.address,
        "description": channel.doc,
        "messages": {name: _reference("messages", name) for name in channel.messages},
        **({"parameters": parameters} if parameters else {}),
    }


def _parameter(name: str) -> dict[str, Any]:
    if name != "partition":
        return {"description": PARAMETERS[name]}
    numbers = [*range(PARTITIONS), ALL]
    return {
        "description": PARAMETERS[name],
        "enum": [partition_token(number) for number in numbers],
    }


def _operation(name: str, every: dict[str, Channel]) -> dict[str, Any]:
    stream = every[name.removeprefix("live.")].stream
    told = f"Shows what {stream} stored" if name.startswith("live.") else f"Appends to {stream}"
    return {"action": "send", "channel": {"$ref": f"#/channels/{name}"}, "summary": told}


def _reference(section: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{section}/{name}"}


def _messages() -> dict[str, Any]:
    frames = {name: _frame(kind) for name, kind in KINDS.items()}
    told = {
        tag: {
            "name": tag,
            "title": event.__name__,
            "contentType": "application/json",
            "payload": _reference("schemas", tag),
        }
        for tag, event in EVENTS.items()
    }
    checkpoint = {
        "name": CHECKPOINT,
        "title": "Checkpoint",
        "contentType": "application/json",
        "payload": _reference("schemas", CHECKPOINT),
    }
    return frames | told | {CHECKPOINT: checkpoint}


def _frame(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "title": f"Frame of kind {kind.name}",
        "summary": kind.doc,
        "contentType": "application/sbe",
        "payload": {
            "type": "string",
            "format": "binary",
            "description": f"FIX SBE message {kind.name}, described in {SBE_FILE}",
            "x-sbe": {
                "schema": SBE_FILE,
                "schemaId": SCHEMA_ID,
                "templateId": kind.template_id,
                "version": kind.version,
            },
        },
    }


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = json_schemas.document(EVENTS.values())["$defs"]
    checkpoint = Checkpoint.model_json_schema(ref_template="#/components/schemas/{model}")
    within: dict[str, Any] = checkpoint.pop("$defs")
    return schemas | within | {CHECKPOINT: checkpoint}
