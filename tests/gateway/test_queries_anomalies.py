"""Anomalies of bars, from tables."""

from typing import get_args

import pytest

from tidemill.gateway.queries.anomalies import Detects
from tidemill.processors.kernels.anomaly_plan import DETECTORS
from tidemill.tests.gateway.asking import Client
from tidemill.tests.gateway.market import at

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
PATH = "/api/analytics/anomalies"


async def test_the_newest_anomalies_as_last_revised_without_those_taken_back(
    client: Client,
) -> None:
    found = await client.data(PATH)
    assert [one["r"] for one in found["anomalies"]] == [53, 50]
    pump, fall = found["anomalies"]
    assert (pump["severity"], pump["timeframe"], pump["score"]) == ("MEDIUM", "tick", 62.5)
    assert pump["evidence"] == {
        "volume_points": 30,
        "price_points": 15,
        "rapidity_points": 12.5,
        "lost_points": 5,
    }
    assert (fall["severity"], fall["score"], fall["threshold"]) == ("HIGH", -13.0, 3.0)
    assert fall["evidence"] == {"median": 100.5, "deviation": 2.25}
    assert (fall["detectors"], fall["detector"]) == ("watch", "return_z(60)")
    assert (fall["revision"], fall["flags"]) == (1, ["LATE"])
    assert fall["ts_close"] == at(0) and fall["timestamp"] == at(0) // 1_000_000


async def test_anomalies_by_what_is_asked_for(client: Client) -> None:
    async def found(**asked: object) -> list[int]:
        return [one["r"] for one in (await client.data(PATH, **asked))["anomalies"]]

    assert await found(severity="HIGH") == [50]
    assert await found(severity="CRITICAL") == []
    assert await found(detector="pump_and_dump") == [53]
    assert await found(timeframe="1m") == [50]
    assert await found(symbol="ETHUSDT") == []
    assert await found(limit=1) == [53]


async def test_in_the_past_an_anomaly_is_what_it_was(client: Client) -> None:
    found = await client.data(PATH, as_of="51")
    assert [(one["r"], one["severity"]) for one in found["anomalies"]] == [
        (51, "LOW"),
        (50, "HIGH"),
    ]
    (first,) = (await client.data(PATH, as_of="49"))["anomalies"]
    assert (first["severity"], first["score"], first["flags"]) == ("CRITICAL", -25.5, [])


async def test_every_detector_can_be_asked_for() -> None:
    assert get_args(Detects) == tuple(DETECTORS)


@pytest.mark.parametrize(
    "asked", [{"severity": "NONE"}, {"detector": "rsi"}, {"timeframe": "7m"}, {"limit": 0}]
)
async def test_what_is_wrong_is_refused(client: Client, asked: dict[str, object]) -> None:
    assert await client.error(PATH, **asked) == (400, "VALIDATION_ERROR")
