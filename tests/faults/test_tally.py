"""The report counts rounds by kind, and a round that lost something did not hold."""

from dataclasses import replace
from pathlib import Path

import orjson

from tidemill.deploy.embedded.servers import ServerUrls
from tidemill.tests.faults.launcher import through
from tidemill.tests.faults.tally import Round, Tally

HELD = Round(7, "kill-at-point", "graph at x", "killed 5", 1.25, 3.0, 100, 2_000, 0, 0)


def test_a_row_for_each_kind_and_one_for_all(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "rounds.jsonl")
    for one in (HELD, replace(HELD, recovered_s=3.0), replace(HELD, kind="poison", lost=2)):
        tally.add(one)
    rows = tally.table().splitlines()[2:]
    assert rows == [
        "| kill-at-point | 2 | 2 | 200 | 4,000 | 0 | 0 | 2.1 | 3.0 |",
        "| poison | 1 | 0 | 100 | 2,000 | 2 | 0 | 1.2 | 1.2 |",
        "| **all** | 3 | 2 | 300 | 6,000 | 2 | 0 | 1.2 | 3.0 |",
    ]
    assert not tally.held
    lines = [orjson.loads(line) for line in tally.path.read_bytes().splitlines()]
    assert [line["kind"] for line in lines] == ["kill-at-point", "kill-at-point", "poison"]


def test_what_is_lost_twice_or_strange_does_not_hold() -> None:
    wrong = [replace(HELD, lost=1), replace(HELD, duplicated=1), replace(HELD, why=("odd",))]
    assert HELD.held and not any(one.held for one in wrong)


def test_only_servers_with_a_proxy_are_reached_through_it() -> None:
    names = list(ServerUrls.model_fields)
    urls = ServerUrls(**{name: f"x://me:a%3Ab@127.0.0.1:1/{name}" for name in names})
    found = through(urls, {"nats": 9, "postgres": 8}).model_dump()
    assert found["nats_engine"] == "x://me:a%3Ab@127.0.0.1:9/nats_engine"
    assert found["postgres_reader"] == "x://me:a%3Ab@127.0.0.1:8/postgres_reader"
    same = ("nats_name", "nats_monitor", "valkey", "clickhouse", "clickhouse_reader")
    assert all(found[name] == getattr(urls, name) for name in same)
