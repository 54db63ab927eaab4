"""What is refused: bad parameters, injected SQL, other methods, and writing as a reader."""

from urllib.parse import quote

import asyncpg
import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.tests.gateway.asking import MARKET_DATA, Client, client_of
from tidemill.tests.projections.stores import Stores

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

INJECTIONS = (
    "BTCUSDT' OR '1'='1",
    "BTCUSDT'; DROP TABLE trades__v1; --",
    "{symbol:Identifier}",
    "BTCUSDT\\",
    "BTCUSDT\x00",
    "%27 UNION ALL SELECT * FROM sink --",
    "btcusdt",
    "Ä",
    "B" * 49,
)


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.parametrize("path", ["trades", "candles", "quote", "aggregated", "comparison"])
async def test_a_symbol_that_is_no_name_is_refused(client: Client, path: str, text: str) -> None:
    answer = await client.http.get(f"{MARKET_DATA}/{path}/{quote(text, safe='')}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("text", INJECTIONS)
async def test_every_other_text_is_refused_too(client: Client, text: str) -> None:
    for name in ("venue", "as_of", "min_seq", "limit", "timeframe", "from", "to"):
        assert await client.error("candles/BTCUSDT", **{name: text}) == (400, "VALIDATION_ERROR")
    for name in ("venue", "symbol", "pair", "status", "page"):
        if name == "symbol" and text == "Ä":
            continue
        assert await client.error("instruments", **{name: text}) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("path", "name", "most"),
    [("trades", "limit", 1_000), ("candles", "limit", 1_000), ("aggregated", "limit", 1_000)],
)
async def test_limits_are_limits(client: Client, path: str, name: str, most: int) -> None:
    assert (await client.get(f"{path}/BTCUSDT", **{name: most})).status_code == 200
    for beyond in (most + 1, 0, -1, 10**30):
        answer = await client.get(f"{path}/BTCUSDT", **{name: beyond})
        assert answer.status_code == 400
        (error,) = answer.json()["error"]["details"]["errors"]
        assert error["path"] == f"query.{name}" and error["message"] and error["code"]


async def test_a_page_is_at_most_a_hundred(client: Client) -> None:
    assert (await client.get("instruments", limit=100)).status_code == 200
    assert await client.error("instruments", limit=101) == (400, "VALIDATION_ERROR")


async def test_a_parameter_that_is_not_known_is_refused_not_ignored(client: Client) -> None:
    assert await client.error("trades/BTCUSDT", asof="5") == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_get_is_answered(client: Client, method: str) -> None:
    answer = await client.http.request(method, f"{MARKET_DATA}/symbols")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "INVALID_REQUEST")


async def test_a_bug_shows_no_stack_trace_outside_development(market: Stores) -> None:
    await market.clickhouse.command("RENAME TABLE bars__v1 TO bars__away")
    await market.clickhouse.command("CREATE TABLE bars__v1 (secret UInt8) ENGINE = Memory")
    try:
        async with client_of(market) as client:
            answer = await client.get("candles/BTCUSDT")
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
            assert "secret" not in answer.text and "Traceback" not in answer.text
        async with client_of(market, development=True) as client:
            answer = await client.get("candles/BTCUSDT")
            assert "Traceback" in answer.json()["error"]["details"]["trace"][0]
    finally:
        await market.clickhouse.command("DROP TABLE bars__v1 SYNC")
        await market.clickhouse.command("RENAME TABLE bars__away TO bars__v1")


async def test_the_role_of_queries_cannot_write_to_clickhouse(market: Stores) -> None:
    reader = clickhouse_connect.get_client(dsn=market.clickhouse_server.reader_url)
    try:
        for sql in (
            "INSERT INTO trades__v1 SELECT * FROM trades__v1",
            "DROP TABLE trades__v1",
            "ALTER TABLE trades__v1 DELETE WHERE 1",
            "CREATE TABLE mine (a UInt8) ENGINE = Memory",
            "TRUNCATE TABLE trades__v1",
        ):
            with pytest.raises(DatabaseError):
                reader.command(sql)
    finally:
        reader.close()


async def test_the_role_of_queries_cannot_write_to_postgres(market: Stores) -> None:
    reader = await asyncpg.connect(market.postgres_server.reader_dsn)
    try:
        await reader.execute("SET default_transaction_read_only = off")
        for sql in (
            "UPDATE active SET version = 9",
            "DELETE FROM sink",
            "INSERT INTO active (name, version, t) VALUES ('mine', 1, 'mine__v1')",
            "CREATE TABLE mine (a int)",
            "DROP TABLE sink",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(sql)
    finally:
        await reader.close()


_WORDS = st.text(st.characters(codec="utf-8"), max_size=60)
_NAMES = st.from_regex(r"[A-Z0-9_\-/:]{1,48}", fullmatch=True)
_VALUES = st.one_of(_WORDS, st.integers().map(str), _NAMES, st.dates().map(str), st.just("1m"))
_PARAMETERS = (
    *("as_of", "min_seq", "limit", "venue", "timeframe", "from", "to", "page", "status"),
    *("hours", "i", "minSpread", "legs", "event", "symbol"),
)
_PATHS = (
    *("trades/{}", "candles/{}", "quote/{}", "aggregated/{}", "comparison/{}"),
    *("symbols", "tickers", "instruments", "arbitrage", "feeds", "feeds/events"),
    *("orderbook/{}", "{}/orderbook", "{}/orderbook/history", "orderbook/status"),
    *("{}/funding-rate", "{}/funding-rate/all", "{}/open-interest", "{}/open-interest/history"),
    *("liquidations/{}", "venue-candles/{}"),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    path=st.sampled_from(_PATHS),
    symbol=st.one_of(_NAMES, st.sampled_from(["BTCUSDT", "BTC-USDT", "ETHUSDT"])),
    parameters=st.dictionaries(st.sampled_from(_PARAMETERS), _VALUES, max_size=3),
)
async def test_whatever_is_asked_is_answered_in_an_envelope_and_never_a_bug(
    client: Client, path: str, symbol: str, parameters: dict[str, str]
) -> None:
    if parameters.get("min_seq", "").isdecimal() or parameters.get("as_of", "").isdecimal():
        parameters = {name: parameters[name] for name in parameters if name not in _WAITING}
    answer = await client.get(path.format(symbol.replace("//", "/-")), **parameters)
    assert answer.status_code in (200, 400, 404), answer.text


_WAITING = ("min_seq", "as_of")
