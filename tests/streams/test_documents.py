"""Generated documents: current, and true of what is on the wire."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from tidemill.schemas.bar_type import BUILT_SPECS
from tidemill.schemas.events import EVENTS
from tidemill.schemas.identifiers import ALL, partition
from tidemill.schemas.kinds import KINDS
from tidemill.streams import subjects
from tidemill.streams.documents import asyncapi
from tidemill.streams.documents.__main__ import ROOT, main
from tidemill.streams.documents.channels import PARAMETERS, channels
from tidemill.streams.documents.files import texts

DOCUMENT: dict[str, Any] = json.loads(texts()["streams/documents/tidemill.asyncapi.json"])
BTC = partition("BTC/USDT")


def test_the_committed_documents_are_current() -> None:
    stale = [path for path, text in texts().items() if (ROOT / path).read_text("utf-8") != text]
    assert stale == [], "run: python -m tidemill.streams.documents"


def test_a_document_that_is_not_current_is_found_and_written(tmp_path: Path) -> None:
    for path in texts():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    assert main(tmp_path, check=True) == 1
    assert main(tmp_path, check=False) == 0
    assert main(tmp_path, check=True) == 0
    changed = tmp_path / "schemas/documents/tidemill.sbe.xml"
    changed.write_text(changed.read_text() + " ")
    assert main(tmp_path, check=True) == 1


def references(value: Any) -> list[str]:
    """Every $ref in `value`, however deep."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    return (
        [found for inner in value for found in references(inner)] if isinstance(value, list) else []
    )


@pytest.mark.parametrize("path", [path for path in texts() if path.endswith(".json")])
def test_every_reference_inside_a_document_leads_somewhere(path: str) -> None:
    document = json.loads(texts()[path])
    assert references(document)
    for reference in references(document):
        assert reference.startswith("#/")
        target = document
        for token in reference[2:].split("/"):
            target = target[token]


def test_the_asyncapi_document_has_what_its_specification_requires() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].startswith("#/channels/")
    for channel in DOCUMENT["channels"].values():
        assert channel["messages"]
        named = set(re.findall(r"{([^}]*)}", channel["address"]))
        assert channel.get("parameters", {}).keys() == named
        assert named <= PARAMETERS.keys()
    for section in DOCUMENT["components"].values():
        assert all(re.fullmatch(r"[\w.-]+", name) for name in section)
    for message in DOCUMENT["components"]["messages"].values():
        assert message["contentType"] in ("application/sbe", "application/json")
        assert message["payload"]
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_another_library_reads_the_asyncapi_document() -> None:
    read = ApplicationSchema.model_validate(DOCUMENT)
    assert read.channels.keys() == DOCUMENT["channels"].keys()
    assert read.operations.keys() == DOCUMENT["operations"].keys()


def test_every_kind_and_event_travels_on_a_channel_of_its_own_stream() -> None:
    told = {message for channel in channels().values() for message in channel.messages}
    assert told == KINDS.keys() | EVENTS.keys() | {"checkpoint"}
    for name, kind in KINDS.items():
        stream = "OUT" if "at_r" in (kind.dtype.names or ()) else "LOG"
        assert [c.stream for c in channels().values() if name in c.messages] == [stream]


def _matching(subject: str) -> list[str]:
    """The channels whose address `subject` fits with every parameter one token."""
    return [
        name
        for name, channel in channels().items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^.]+", re.escape(channel.address)), subject)
    ]


@pytest.mark.parametrize(
    ("subject", "channel"),
    [
        *(
            (subjects.md(kind, "BINANCE", "BTCUSDT", BTC), f"md.{kind}")
            for kind in ("trade", "quote", "book", "derivative", "liquidation")
        ),
        (subjects.md("status", "BINANCE", "SPOT", ALL), "md.status"),
        (subjects.md("status", "BINANCE", "BTCUSDT", BTC), "md.status"),
        (subjects.md("instrument", "BINANCE", "BTCUSDT", BTC), "md.instrument"),
        (subjects.md("event", "BINANCE", "SPOT", ALL), "md.event"),
        ("time", "time"),
        ("ctl.code.market", "ctl"),
        *(
            (subjects.derived("bars", spec, "BINANCE", "BTCUSDT", BTC), "bars")
            for spec in BUILT_SPECS
        ),
        (subjects.derived("prices", "24h", "ALL", "BTC/USDT", BTC), "prices"),
        (subjects.derived("feeds", "stale", "BINANCE", "SPOT", ALL), "feeds.stale"),
        (subjects.checkpoint("market", ALL), "ckpt"),
        ("dlq.bars.33", "dlq"),
    ],
)
def test_every_subject_in_use_fits_one_channel_and_is_ours(subject: str, channel: str) -> None:
    assert _matching(subject) == [channel]
    assert subjects.parse(subject)


def test_frames_name_the_sbe_template_that_describes_them() -> None:
    for name, kind in KINDS.items():
        sbe = DOCUMENT["components"]["messages"][name]["payload"]["x-sbe"]
        assert (sbe["templateId"], sbe["version"]) == (kind.template_id, kind.version)
        assert sbe["schema"] == asyncapi.SBE_FILE
