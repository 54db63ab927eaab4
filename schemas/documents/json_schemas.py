"""JSON Schemas (draft 2020-12) of the events, one definition a tag, made from their models."""

from collections.abc import Iterable
from typing import Any

from tidemill.schemas.events.event import Event


def document(types: Iterable[type[Event]]) -> dict[str, Any]:
    """Return one schema that any event of `types` fulfils, with a definition for each tag."""
    definitions: dict[str, Any] = {}
    tags = sorted((kind.tag(), kind) for kind in types)
    for tag, kind in tags:
        schema = _schema(kind)
        definitions |= schema.pop("$defs", {})
        definitions[tag] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:tidemill:events",
        "title": "Events of Tidemill",
        "oneOf": [{"$ref": f"#/$defs/{tag}"} for tag, _ in tags],
        "$defs": definitions,
    }


def _schema(kind: type[Event]) -> dict[str, Any]:
    """The model's own schema, with the tag that stands in the field `event`."""
    schema = kind.model_json_schema(ref_template="#/$defs/{model}")
    schema["properties"] = {"event": {"const": kind.tag()}} | schema["properties"]
    schema["required"] = ["event", *schema.get("required", [])]
    return schema
