"""`tidemill status` tells of a run: streams, graphs, tables with their lag, a rebuild's end."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from tidemill.deploy.commands import replay
from tidemill.deploy.commands.output import Exit
from tidemill.deploy.commands.status import show, status
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.prepared import databases
from tidemill.projections.metrics import Metrics, tell_lag
from tidemill.projections.postgres.readings import Pool
from tidemill.projections.registry import TABLES
from tidemill.projections.versions import begin
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.tests.flow import simulated

pytestmark = pytest.mark.integration


async def told(data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert await status(data, True) is Exit.HELD
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    return found


async def advancing(pool: Pool) -> None:
    """Let a table come on by at most 100 roots a second."""
    while True:
        await pool.execute("UPDATE sink SET position = position + 1 WHERE t = 'trades__v1'")
        await asyncio.sleep(0.01)


async def test_it_tells_of_everything_that_a_run_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    data, capture = tmp_path / "run", simulated.write(tmp_path, "BINANCE")
    options = replay.Options((capture,), "BINANCE", "SPOT", False, 1, "fused", data, True)
    async with servers_on(data) as urls, databases(urls) as (pool, _):
        assert await replay.replay(options) is Exit.HELD
        found = await told(data, capsys)
        end = found["streams"]["LOG"]["last"]
        assert found["streams"]["LOG"]["messages"] == end > 1_000
        assert found["streams"]["LOG"]["readers"] == {}  # nobody reads: the replay has ended
        assert found["archive"]["sealed"] == found["archive"]["files"] == 0
        assert found["archive"]["lag_records"] == end and found["archive"]["log_first"] == 1
        assert found["graphs"]["main"]["lag_records"] == 0
        assert found["graphs"]["main"]["done_min"] == end
        assert {one["name"] for one in found["tables"].values()} == set(TABLES)
        for name, one in found["tables"].items():
            assert (one["position"], one["lag_records"], one["lag_s"]) == (end, 0, 0.0), name
            assert one["active"]
            if one["name"] in simulated.FILLED:
                assert one["rows"] > 0 and one["bytes"] > 0, name
        assert set(found["servers"]) == {"nats", "postgres", "clickhouse", "valkey"}
        assert all(version[0].isdigit() for version in found["servers"].values())
        assert found["disk"]["folders"]["nats"] > found["streams"]["LOG"]["bytes"]
        assert found["snapshots"]["files"] > 0

        await pool.execute("UPDATE sink SET position = 100 WHERE t = 'trades__v1'")
        building = await begin(pool, TABLES["bars"])
        await pool.execute(
            "UPDATE physical SET target = 1000, rows = 300, rate = 10, told_at = now()"
            " WHERE t = $1",
            building.physical,
        )
        await pool.execute(
            "INSERT INTO sink SELECT $1, log_uuid, epoch, 250, 0, 0, 1, 1, 1 FROM sink"
            " WHERE t = 'bars__v1'",
            building.physical,
        )
        found = await told(data, capsys)
        assert found["tables"]["trades__v1"]["lag_records"] == end - 100
        assert 70 < found["tables"]["trades__v1"]["lag_s"] < 90  # the capture is 80 s long
        rebuild = found["tables"][building.physical]["rebuild"]
        assert (rebuild["target"], rebuild["rows"], rebuild["eta_s"]) == (1_000, 300, 90.0)
        going = asyncio.create_task(advancing(pool))
        connection = await connect(urls.nats_engine, name="somebody")
        log = await JetStreamLog.open(connection, "LOG")
        readers = [await log.read(end - 20, [">"]) for _ in range(2)]
        found = await told(data, capsys)
        assert 0 < found["tables"]["trades__v1"]["roots_per_s"] < 101
        (reader,) = found["streams"]["LOG"]["readers"].items()
        assert reader[0] == "somebody" and reader[1]["count"] == 2
        going.cancel()
        for one in readers:
            await one.close()
        await connection.close()
        show(found)
        shown = capsys.readouterr().out
        assert "trades__v1" in shown and "90 s to go" in shown


def test_lag_of_every_table_is_a_metric_with_bounded_labels() -> None:
    metrics = Metrics("told__v1")
    metrics.position(40, 3)
    tell_lag(100, lambda position: position / 10)
    labels = {"table": "told__v1"}
    assert REGISTRY.get_sample_value("tidemill_sink_lag_records", labels) == 60
    assert REGISTRY.get_sample_value("tidemill_sink_lag_seconds", labels) == 4.0
    assert REGISTRY.get_sample_value("tidemill_sink_lag_messages", labels) == 3
