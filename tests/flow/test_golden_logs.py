"""Logs that earlier versions wrote are read, up-cast and replayed to what was recorded then."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tidemill.processors.catalog import PROCESSORS
from tidemill.schemas import frame, kinds
from tidemill.schemas.frame import Field
from tidemill.schemas.kinds import KINDS
from tidemill.streams.subjects import parse
from tidemill.tests.schemas import golden_logs
from tidemill.tests.schemas.golden import CORPUS, HASHES
from tidemill.tests.schemas.golden_logs import DIGESTS, FOLDER, KEYS, Facts

PUBLISHED = golden_logs.published()
BYTES_MAX = 1_000_000


def facts_of(name: str) -> Facts:
    return golden_logs.read((FOLDER / f"{name}{golden_logs.ENDING}").read_bytes())


def current(found: dict[str, Any]) -> dict[str, Any]:
    """The digests that this version can still make: of its tables and processors."""
    return {key: digest for key, digest in found.items() if key in KEYS}


@pytest.mark.parametrize("name", list(PUBLISHED))
async def test_a_golden_log_is_replayed_to_the_recorded_digest_of_every_table(name: str) -> None:
    entry = PUBLISHED[name]
    data = (FOLDER / f"{name}{golden_logs.ENDING}").read_bytes()
    assert golden_logs.sha256(data) == entry["sha256"], "a golden log was changed"
    facts = golden_logs.read(data)
    assert (len(facts), golden_logs.held(facts)) == (entry["messages"], entry["holds"])
    found = await golden_logs.digests(facts)
    recorded = current(entry["tables"])
    assert recorded == {key: found[key] for key in recorded}
    assert recorded.keys() == KEYS.keys(), "run: python -m tidemill.tests.schemas.golden_logs"


def test_the_golden_logs_are_small_and_all_listed() -> None:
    paths = [path for path in FOLDER.iterdir() if path.name != DIGESTS]
    assert {path.name.removesuffix(golden_logs.ENDING) for path in paths} == PUBLISHED.keys()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < BYTES_MAX


def test_every_published_kind_and_event_of_log_is_in_a_golden_log_in_every_version() -> None:
    corpus = json.loads((CORPUS / HASHES).read_text())
    derived = {name for name, kind in KINDS.items() if "at_r" in (kind.dtype.names or ())}
    wanted = set()
    for name in corpus:
        what = ".".join(name.split(".")[:2])
        if what.split(".")[0] not in derived | {"DeadLetter", "FeedStale"}:
            wanted.add(what)
    assert wanted <= {what for entry in PUBLISHED.values() for what in entry["holds"]}
    assert "InstrumentDefined.v1" in wanted


def test_every_table_has_rows_in_some_golden_log() -> None:
    rows = {
        key: sum(entry["tables"].get(key, {"rows": 0})["rows"] for entry in PUBLISHED.values())
        for key in KEYS
    }
    assert [key for key, count in rows.items() if not count] == []


def test_the_first_definitions_give_all_that_the_newest_ones_give() -> None:
    by_what = {name.split("-", 1)[1]: entry for name, entry in PUBLISHED.items()}
    first, newest = by_what["first-definitions"], by_what["trades"]
    assert "InstrumentDefined.v1" in first["holds"] and "InstrumentDefined.v2" in newest["holds"]
    assert first["tables"] == newest["tables"]


async def test_frames_of_a_later_version_are_read_for_what_this_one_knows_of_them() -> None:
    """A newer feed may append fields; an older graph behind it goes on."""
    facts = facts_of(next(name for name in PUBLISHED if name.endswith("-markets")))
    later = [(subject, in_later_version(subject, payload)) for subject, payload in facts]
    assert sum(one != other for one, other in zip(facts, later, strict=True)) > len(facts) // 2
    assert await golden_logs.digests(later) == await golden_logs.digests(facts)


def in_later_version(subject: str, payload: bytes) -> bytes:
    """A frame as a version would write it whose records have one more field."""
    if payload.startswith(b"{") or parse(subject).kind == "time":
        return payload
    decoded = kinds.decode(payload)
    added = Field("later", "int64", "unknown to this version", since=decoded.kind.version + 1)
    grown = replace(decoded.kind, fields=(*decoded.kind.fields, added), upcast=None)
    records = grown.empty(len(decoded.records))
    for name in decoded.records.dtype.names or ():
        records[name] = decoded.records[name]
    records["later"] = 7
    return frame.encode(grown, records, *decoded[1:5])


# --- that the guard itself can fail ------------------------------------------------------------


async def test_a_golden_log_is_never_changed_and_adding_twice_changes_nothing(
    tmp_path: Path,
) -> None:
    name = next(name for name in PUBLISHED if name.endswith("-corpus"))
    what, facts = "corpus", facts_of(name)
    assert await golden_logs.add({what: facts}, tmp_path) == ["0001-corpus"]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert await golden_logs.add({what: facts}, tmp_path) == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    more = [*facts, facts[-1]]
    assert await golden_logs.add({what: more}, tmp_path) == ["0002-corpus"]
    assert (tmp_path / "0001-corpus.log.zst").read_bytes() == before["0001-corpus.log.zst"]
    (tmp_path / "0001-corpus.log.zst").write_bytes(golden_logs.write(more))
    with pytest.raises(ValueError, match="0001-corpus is published and was changed"):
        await golden_logs.add({what: more}, tmp_path)


async def test_a_digest_that_would_change_is_refused_and_one_that_is_new_is_added(
    tmp_path: Path,
) -> None:
    name = next(name for name in PUBLISHED if name.endswith("-corpus"))
    facts = facts_of(name)
    await golden_logs.add({"corpus": facts}, tmp_path)
    listed = golden_logs.published(tmp_path)
    del listed["0001-corpus"]["tables"]["trades__v1"]
    (tmp_path / DIGESTS).write_text(json.dumps(listed))
    assert await golden_logs.add({"corpus": facts}, tmp_path) == ["0001-corpus: trades__v1"]
    listed = golden_logs.published(tmp_path)
    listed["0001-corpus"]["tables"]["trades__v1"]["sha256"] = "0" * 64
    (tmp_path / DIGESTS).write_text(json.dumps(listed))
    with pytest.raises(ValueError, match="trades__v1 of 0001-corpus is published and would change"):
        await golden_logs.add({"corpus": facts}, tmp_path)


async def test_a_changed_fact_changes_the_digests() -> None:
    facts = facts_of(next(name for name in PUBLISHED if name.endswith("-trades")))
    at = next(k for k, (subject, _) in enumerate(facts) if subject.startswith("md.trade."))
    decoded = kinds.decode(facts[at][1])
    records = decoded.records.copy()
    records["quantity"][0] += 1
    changed = (facts[at][0], frame.encode(decoded.kind, records, *decoded[1:5]))
    found = await golden_logs.digests([*facts[:at], changed, *facts[at + 1 :]])
    recorded = next(e for name, e in PUBLISHED.items() if name.endswith("-trades"))["tables"]
    other = {key for key, digest in found.items() if digest != recorded[key]}
    assert {"trades__v1", "bars__v1 of bars v1"} <= other
    assert "quotes__v1" not in other


def test_digests_of_what_is_derived_name_the_version_of_its_processor() -> None:
    versions = {processor.name: processor.version for processor in PROCESSORS}
    for key, table in KEYS.items():
        if table.emitted_by:
            assert key.endswith(f" of {table.emitted_by} v{versions[table.emitted_by]}")
