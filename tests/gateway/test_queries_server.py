"""The server itself: on a socket, with databases that go away and come back, cache, documents."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from tidemill.deploy.embedded.ports import free_port
from tidemill.gateway.queries.app import create_app, serve
from tidemill.tests.gateway.asking import Client, client_of, every_route, settings_of
from tidemill.tests.gateway.market import END, fill, reach
from tidemill.tests.projections.stores import Stores, stores_on
from tidemill.tests.servers import RunningClickHouse, RunningPostgres, RunningValkey

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def serving(stores: Stores, **settings: object) -> AsyncIterator[httpx2.AsyncClient]:
    """The server on a port of its own, until the block ends."""
    port = free_port()
    task = asyncio.create_task(serve("127.0.0.1", port, settings_of(stores, **settings)))
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            for _ in range(200):
                with suppress(httpx2.ConnectError):
                    await http.get("/openapi.json")
                    break
                await asyncio.sleep(0.02)
            yield http
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_it_answers_on_a_socket_many_at_a_time(market: Stores) -> None:
    async with serving(market) as http:
        paths = ["quote/BTCUSDT", "candles/BTC%2FUSDT", "trades/BTCUSDT"] * 20
        answers = await asyncio.gather(*(http.get(f"/api/market-data/{path}") for path in paths))
        assert {answer.status_code for answer in answers} == {200}
        health = await http.get("/health")
        assert health.status_code == 200
        body = health.json()
        assert (body["status"], body["service"]) == ("RUNNING", "queries")
        assert body["connections"] == {"clickhouse": True, "postgres": True, "redis": False}
        assert body["uptime"] > 0 and body["version"]


async def test_databases_go_away_and_come_back_and_the_server_stays(
    clickhouse: RunningClickHouse, postgres: RunningPostgres, valkey: RunningValkey
) -> None:
    path = "/api/market-data/aggregated/BTCUSDT"
    async with stores_on(clickhouse, postgres) as stores:
        await fill(stores)
        async with serving(stores, valkey=valkey.url) as http:
            assert (await http.get(path)).status_code == 200
            for server, name in ((clickhouse, "ClickHouse"), (postgres, "Postgres")):
                server.kill()
                await asyncio.sleep(1.1)  # what is kept is forgotten
                answer = await http.get(path)
                assert answer.status_code == 503
                error = answer.json()["error"]
                assert error["code"] == "SERVICE_UNAVAILABLE"
                assert error["message"] == f"{name} is away or busy; try again"
                assert server.server.reader_password not in answer.text
                health = await http.get("/health")
                assert health.status_code == 503 and health.json()["status"] == "ERROR"
                assert health.json()["connections"][name.lower()] is False
                await server.restart()
                assert (await http.get(path)).status_code == 200
                assert (await http.get("/health")).status_code == 200
            valkey.kill()
            assert (await http.get(path)).status_code == 200
            health = await http.get("/health")
            assert health.status_code == 200 and health.json()["connections"]["redis"] is False


async def test_it_starts_while_both_databases_are_away(market: Stores) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    away = {
        "clickhouse_reader": f"http://reader:x@{nowhere}/default",
        "postgres_reader": f"postgresql://reader:x@{nowhere}/tidemill",
        "valkey": f"redis://{nowhere}/0",
    }
    async with client_of(market, **away) as client:
        assert await client.error("symbols") == (503, "SERVICE_UNAVAILABLE")
        assert (await client.http.get("/health")).status_code == 503


async def test_an_answer_is_kept_for_a_second_and_min_seq_sees_through_it(
    market: Stores, valkey_of_session: str
) -> None:
    async with client_of(market, valkey=valkey_of_session) as client:
        for _ in range(20):  # a second may pass between two questions of a busy machine
            first = await client.get("aggregated/BTCUSDT")
            second = await client.get("aggregated/BTCUSDT")
            if "x-cache" in second.headers:
                break
        assert second.headers["x-cache"] == "HIT" and first.content == second.content
        # A different question has an answer of its own, and so has the past.
        assert "x-cache" not in (await client.get("aggregated/BTCUSDT", limit=2)).headers
        assert (await client.as_of("aggregated/BTCUSDT", as_of="40"))["r"] == 40
        tables = ("prices", "trades", "quotes", "instruments")
        for name in tables:
            await reach(market, name, END + 1)
        try:
            newer = await client.get("aggregated/BTCUSDT", min_seq=END + 1)
            assert newer.json()["meta"]["as_of"]["r"] == END + 1
            await asyncio.sleep(1.1)
            assert (await client.as_of("aggregated/BTCUSDT"))["r"] == END + 1
        finally:
            for name in tables:
                await reach(market, name, END)


async def test_metrics_have_templates_never_symbols(client: Client) -> None:
    await client.get("quote/BTCUSDT")
    await client.http.get("/no/such/BTCUSDT")
    await client.http.request("PROPFIND", "/api/market-data/symbols")
    text = (await client.http.get("/metrics")).text
    assert "BTCUSDT" not in text and "PROPFIND" not in text
    quote = '{method="GET",route="/api/market-data/quote/{symbol:path}",status="200"}'
    assert f"http_requests_total{quote}" in text
    assert 'http_requests_total{method="GET",route="(none)",status="404"}' in text
    for name in ("http_request_duration_ms_bucket", "active_connections 1.0", "errors_total"):
        assert name in text


async def test_documents_work_without_the_internet(client: Client) -> None:
    page = await client.http.get("/docs")
    assert "//" not in page.text.replace("<!doctype html>", "")
    for path in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js"):
        assert path.removeprefix("/") in page.text
        assert (await client.http.get(path)).status_code == 200
    document = (await client.http.get("/openapi.json")).json()
    for route in every_route(client.app):
        if route.include_in_schema:
            assert set(document["paths"][route.path.replace(":path", "")]) == {"get"}


async def test_the_page_needs_nothing_from_elsewhere_and_may_only_reach_live(
    market: Stores,
) -> None:
    async with client_of(market, live_url="ws://127.0.0.1:3002/live") as client:
        page = await client.http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "connect-src 'self' ws://127.0.0.1:3002;" in policy
        assert "script-src 'self';" in policy and "unsafe" not in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert "http" not in page.text and "<script>" not in page.text and "style=" not in page.text
        for path in ("/page.js", "/page.css"):
            assert path.removeprefix("/") in page.text
            assert (await client.http.get(path)).status_code == 200
        assert (await client.http.get("/page.json")).json() == {
            "live_url": "ws://127.0.0.1:3002/live"
        }


async def test_other_origins_may_ask_only_where_configured(market: Stores) -> None:
    asked = {"Origin": "https://elsewhere.example"}
    async with client_of(market) as client:
        answer = await client.http.get("/api/market-data/symbols", headers=asked)
        assert "access-control-allow-origin" not in answer.headers
    async with client_of(market, cors_origins=("https://elsewhere.example",)) as client:
        answer = await client.http.get("/api/market-data/symbols", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"


async def test_an_address_of_live_that_is_no_websocket_is_refused(market: Stores) -> None:
    with pytest.raises(ValueError, match="is no address"):
        create_app(settings_of(market, live_url="javascript:alert(1)"))


async def test_a_port_that_is_taken_is_an_error_at_once(market: Stores) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    try:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises((OSError, RuntimeError)):
            await asyncio.wait_for(serve("127.0.0.1", port, settings_of(market)), 10)
    finally:
        taken.close()
        await taken.wait_closed()
