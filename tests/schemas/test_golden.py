"""Everything ever published is still read, to the same contents and back to the same bytes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tidemill.schemas import events, examples, frame
from tidemill.schemas.frame import Field
from tidemill.schemas.kinds import TIME
from tidemill.schemas.rows import from_rows
from tidemill.tests.schemas import golden
from tidemill.tests.schemas.golden import CORPUS, HASHES

PUBLISHED: dict[str, dict[str, str]] = json.loads((CORPUS / HASHES).read_text())
ALL_FILES = pytest.mark.parametrize("name", list(PUBLISHED))


@ALL_FILES
def test_a_published_file_is_decoded_to_its_contents_and_encoded_to_its_bytes(name: str) -> None:
    payload = (CORPUS / name).read_bytes()
    assert golden.sha256(payload) == PUBLISHED[name]["bytes"]
    content = golden.content_of(name, payload)
    assert golden.sha256(golden.canonical(content)) == PUBLISHED[name]["content"]
    assert golden.encode_again(name, payload) == payload


@ALL_FILES
def test_a_published_event_can_be_brought_to_its_newest_version(name: str) -> None:
    if name.endswith(".json"):
        assert events.decode((CORPUS / name).read_bytes())


def test_the_corpus_has_every_version_of_today_and_nothing_unlisted() -> None:
    assert golden.current().keys() <= PUBLISHED.keys(), (
        "run: python -m tidemill.tests.schemas.golden"
    )
    assert {path.name for path in CORPUS.iterdir()} == PUBLISHED.keys() | {HASHES}


def test_examples_have_hand_chosen_values_that_do_not_come_from_a_clock_or_chance() -> None:
    assert golden.current() == golden.current()
    assert all(golden.current()[name] == (CORPUS / name).read_bytes() for name in golden.current())


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    assert golden.add(tmp_path) == sorted(golden.current())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert golden.add(tmp_path) == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_published_file_is_never_changed(tmp_path: Path) -> None:
    golden.add(tmp_path)
    other = events.encode(examples.EVENTS["CodeDeployed.v1"].model_copy(update={"graph": "x"}))
    (tmp_path / "CodeDeployed.v1.json").write_bytes(other)
    with pytest.raises(ValueError, match=r"CodeDeployed\.v1\.json is published"):
        golden.add(tmp_path)
    assert (tmp_path / "CodeDeployed.v1.json").read_bytes() == other


def test_a_deleted_file_does_not_come_back_with_other_contents(tmp_path: Path) -> None:
    golden.add(tmp_path)
    hashes = json.loads((tmp_path / HASHES).read_text())
    hashes["time.v1.example.sbe"]["bytes"] = "0" * 64
    (tmp_path / HASHES).write_text(json.dumps(hashes))
    (tmp_path / "time.v1.example.sbe").unlink()
    with pytest.raises(ValueError, match=r"time\.v1\.example\.sbe is published"):
        golden.add(tmp_path)


def test_the_content_hash_of_an_old_frame_outlives_a_field_that_is_appended() -> None:
    grown = replace(TIME, fields=(*TIME.fields, Field("leap", "uint8", "new", since=2)))
    payload = frame.encode(TIME, from_rows(TIME, [{"ts": 5}]), 1)
    then = frame.decode(payload, {TIME.template_id: TIME})
    now = frame.decode(payload, {TIME.template_id: grown})
    assert now.records.dtype != then.records.dtype
    assert golden.frame_content(now, 1) == golden.frame_content(then, 1)
