"""What the front lets a read-only user do, and whom it lets in at all."""

import http.client
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tidemill.deploy.embedded.clickhouse.users import parse_users
from tidemill.tests.deploy.clickhouse_front import OWNER, READER, Front, running_front


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with running_front(tmp_path_factory.mktemp("front") / "clickhouse") as running:
        with running.client() as owner:
            owner.command("CREATE TABLE seen (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
            owner.insert("seen", [[n, str(n)] for n in range(100)], column_names=["a", "b"])
        yield running


@pytest.fixture
def reader(front: Front) -> Iterator[Client]:
    with front.client(READER) as client:
        yield client


def get(front: Front, headers: dict[str, str], **params: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
    connection.request("GET", "/?" + urlencode(params), headers=headers)
    response = connection.getresponse()
    code = response.headers.get("X-ClickHouse-Exception-Code", "")
    answer = response.status, code, response.read()
    connection.close()
    return answer


@pytest.mark.integration
def test_a_reader_selects_shows_describes_and_asks_what_exists(reader: Client) -> None:
    assert reader.query("SELECT sum(a) FROM seen").result_rows == [(4950,)]
    found = reader.query(
        "WITH x AS (SELECT a FROM seen WHERE a < {n:UInt8}) SELECT * EXCEPT (b), row_number()"
        " OVER (ORDER BY a) AS w FROM seen WHERE a IN (SELECT a FROM x) ORDER BY a LIMIT 2",
        parameters={"n": 3},
    )
    assert found.result_rows == [(0, 1), (1, 2)]
    assert "seen" in str(reader.command("SHOW TABLES"))
    assert reader.query("DESCRIBE TABLE seen").row_count == 2
    assert reader.command("EXISTS TABLE seen") == 1
    assert reader.query("SELECT b FROM {t:Identifier}", parameters={"t": "seen"}).row_count == 100
    assert reader.query_arrow("SELECT * FROM seen").num_rows == 100


@pytest.mark.integration
def test_a_reader_may_bound_and_shape_its_queries(reader: Client) -> None:
    settings = {
        "max_threads": 1,
        "max_execution_time": 5,
        "output_format_json_quote_64bit_integers": 1,
    }
    assert reader.query("SELECT getSetting('max_threads')", settings=settings).first_row == (1,)
    assert reader.command("SELECT getSetting('max_threads') SETTINGS max_threads = 2") == 2
    with pytest.raises(DatabaseError) as caught:
        reader.query("SELECT sum(a) FROM seen", settings={"max_rows_to_read": 10})
    assert caught.value.code == 158


@pytest.mark.integration
@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO seen VALUES (1, 'x')",
        "INSERT INTO seen FORMAT CSV\n1,x",
        "INSERT INTO seen SELECT * FROM input('a UInt64, b String') FORMAT CSV\n1,x",
        "DROP TABLE seen",
        "TRUNCATE TABLE seen",
        "ALTER TABLE seen DELETE WHERE 1",
        "CREATE TABLE mine (a Int8) ENGINE = Memory",
        "CREATE DATABASE mine",
        "OPTIMIZE TABLE seen",
        "SYSTEM FLUSH LOGS",
        "KILL QUERY WHERE 1",
        "EXPLAIN SELECT 1",
        "CHECK TABLE seen",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1 SETTINGS additional_result_filter = '1'",
        "SELECT * FROM (SELECT 1 SETTINGS dialect = 'kusto')",
    ],
)
def test_a_reader_writes_nothing_and_controls_nothing(reader: Client, query: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        reader.raw_query(query)
    assert (caught.value.code, caught.value.name) == (164, "READONLY")
    assert reader.command("SELECT count() FROM seen") == 100


@pytest.mark.integration
@pytest.mark.parametrize("name", ["readonly", "additional_table_filters", "dialect"])
def test_a_reader_cannot_set_what_could_free_it(front: Front, name: str) -> None:
    headers = {"X-ClickHouse-User": READER[0], "X-ClickHouse-Key": READER[1]}
    assert get(front, headers, query="SELECT 1", **{name: "0"})[:2] == (500, "164")


@pytest.mark.integration
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('{secret}', LineAsString)",
        "SELECT file('{secret}')",
        "SELECT FILE('{secret}')",
        "SELECT * FROM `{secret}`",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM default.`{secret}`",
        "SELECT * FROM `../../{secret}`",
        "SELECT a FROM seen WHERE b IN (SELECT line FROM file('{secret}', LineAsString))",
        "WITH (SELECT file('{secret}')) AS x SELECT x",
        "SELECT * APPLY(file) FROM (SELECT '{secret}')",
        "SELECT * REPLACE (file('{secret}') AS b) FROM seen",
        "SELECT arrayMap(x -> file(x), ['{secret}'])",
        "DESCRIBE TABLE file('{secret}')",
        "DESCRIBE TABLE '{secret}'",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', LineAsString)",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT * FROM executable('x', LineAsString, 'a String')",
        "SELECT * FROM merge('default', 'seen')",
        "SELECT * FROM sqlite('{secret}', 'x')",
    ],
)
def test_a_reader_reaches_no_file_and_no_address(
    reader: Client, tmp_path: Path, query: str
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("top secret\n")
    with pytest.raises(DatabaseError) as caught:
        reader.raw_query(query.replace("{secret}", str(secret)))
    assert (caught.value.code, caught.value.name) == (497, "ACCESS_DENIED")


@pytest.mark.integration
def test_a_table_given_as_a_parameter_is_looked_at_every_time(
    reader: Client, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text("top secret\n")
    query = "SELECT * FROM {t:Identifier}"
    assert reader.query(query, parameters={"t": "seen"}).row_count == 100
    with pytest.raises(DatabaseError) as caught:
        reader.query(query, parameters={"t": str(tmp_path / "secret.csv")})
    assert caught.value.code == 497


@pytest.mark.integration
def test_each_way_to_say_who_one_is_works_alone(front: Front) -> None:
    name, password = READER
    basic = {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}
    keyed = {"X-ClickHouse-User": name, "X-ClickHouse-Key": password}
    given = {"user": name, "password": password}
    assert get(front, basic, query="SELECT 1") == (200, "", b"1\n")
    assert get(front, keyed, query="SELECT 1") == (200, "", b"1\n")
    assert get(front, {}, query="SELECT 1", **given) == (200, "", b"1\n")
    for headers, params in ((basic | keyed, {}), (basic, given), (keyed, given)):
        assert get(front, headers, query="SELECT 1", **params)[:2] == (403, "516")


@pytest.mark.integration
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""},
        {"X-ClickHouse-User": OWNER[0], "X-ClickHouse-Key": READER[1]},
        {"X-ClickHouse-User": OWNER[0]},
        {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "\0"},
        {"Authorization": "Bearer " + OWNER[1]},
        {"Authorization": "Basic !"},
    ],
)
def test_nobody_else_is_let_in(front: Front, headers: dict[str, str]) -> None:
    headers = {name: value.replace("\0", "%00") for name, value in headers.items()}
    status, code, body = get(front, headers, query="SELECT 1")
    assert (status, code) == (403, "516")
    assert OWNER[1].encode() not in body


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"a": {"password": ""}}',
        '{"a": {"password": "", "readonly": false}}',
        '{"a": {"password": "x", "readonly": 0}}',
        '{"a": {"password": "x", "readonly": true, "more": 1}}',
    ],
)
def test_users_that_are_not_whole_are_not_taken(text: str) -> None:
    with pytest.raises(ValueError):
        parse_users(text)
    good = json.dumps({"a": {"password": "x", "readonly": True}})
    assert parse_users(good)["a"].readonly
