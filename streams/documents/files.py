"""Which generated documents there are, and the text that each must have."""

from typing import Any

import orjson

from tidemill.schemas.documents import json_schemas, xml
from tidemill.schemas.events import EVENTS
from tidemill.schemas.kinds import KINDS
from tidemill.streams.documents import asyncapi


def texts() -> dict[str, str]:
    """Return the text of every document by its path from the folder of `tidemill`."""
    return {
        f"schemas/documents/{asyncapi.SBE_FILE}": xml.text(KINDS.values()),
        "schemas/documents/tidemill.events.json": _json(json_schemas.document(EVENTS.values())),
        "streams/documents/tidemill.asyncapi.json": _json(asyncapi.document()),
    }


def _json(document: dict[str, Any]) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(document, option=options).decode()
