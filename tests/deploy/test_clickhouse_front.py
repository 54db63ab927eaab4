"""The front as clickhouse-connect, unmodified, and curl see it."""

import gzip
import http.client
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import lz4.frame  # type: ignore[import-untyped]  # the package ships no types
import numpy as np
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tidemill.tests.deploy.clickhouse_front import (
    OWNER,
    Failing,
    Front,
    eventually,
    running_front,
)

pytestmark = pytest.mark.integration

FOREVER = "SELECT number FROM numbers(100000000000) WHERE sin(number) > 2"
_NAMES = (f"t{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with running_front(tmp_path_factory.mktemp("front") / "clickhouse") as running:
        yield running


@pytest.fixture
def client(front: Front) -> Iterator[Client]:
    with front.client() as client:
        yield client


@pytest.fixture
def table(client: Client) -> Iterator[str]:
    name = next(_NAMES)
    client.command(
        f"CREATE TABLE {name} (a UInt64, b String, c LowCardinality(String) DEFAULT 'none')"
        " ENGINE = MergeTree ORDER BY a"
    )
    yield name
    client.command(f"DROP TABLE {name} SYNC")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    front: Front, body: bytes = b"", *, headers: dict[str, str] | None = None, **params: str
) -> Answer:
    """One POST as the owner, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=20)
    identity = {"X-ClickHouse-User": OWNER[0], "X-ClickHouse-Key": OWNER[1]}
    try:
        connection.request("POST", "/?" + urlencode(params), body, identity | (headers or {}))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def error_of(run: Callable[[], object]) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        run()
    return caught.value


def running_with(client: Client, query_id: str) -> object:
    """How many running queries carry this id."""
    count = (
        "SELECT count() FROM system.processes"
        " WHERE Settings['http_response_headers'] = {mark:String}"
    )
    mark = f"{{'X-ClickHouse-Query-Id':'{query_id}'}}"
    return client.command(count, parameters={"mark": mark})


def test_parameters_reach_the_query_as_they_are(client: Client) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    values = {"i": -3, "s": "a'b\"\n\t\\ ü`", "l": [1, 2], "t": moment, "n": None}
    row = client.query(
        "SELECT {i:Int8}, {s:String}, {l:Array(UInt8)}, {t:DateTime64(6, 'UTC')},"
        " {n:Nullable(String)}",
        parameters=values,
    ).result_rows[0]
    assert row == (-3, values["s"], [1, 2], moment.replace(tzinfo=None), None)


def test_parameters_too_long_for_a_url_arrive_as_a_form(client: Client) -> None:
    text = "ä'\n" * 20_000
    assert client.query("SELECT {s:String}", parameters={"s": text}).result_rows == [(text,)]


def test_a_missing_parameter_is_the_engines_error(client: Client) -> None:
    error = error_of(lambda: client.raw_query("SELECT {x:UInt8}"))
    assert (error.code, error.name) == (456, "UNKNOWN_QUERY_PARAMETER")


@pytest.mark.parametrize("compression", [None, "lz4", "zstd", "gzip"])
def test_native_inserts_come_back_row_by_row(
    front: Front, table: str, compression: str | None
) -> None:
    with front.client(compress=compression or False) as client:
        rows = [[n, f"row {n}", f"kind {n % 3}"] for n in range(5000)]
        summary = client.insert(table, rows, column_names=["a", "b", "c"])
        assert summary.written_rows == 5000
        assert [list(row) for row in client.query(f"SELECT * FROM {table}").result_rows] == rows


def test_several_blocks_of_an_insert_are_one_body(client: Client, table: str) -> None:
    numbers = np.arange(400_000)
    columns = [list(numbers), [str(n) for n in numbers]]
    client.insert(table, columns, column_names=["a", "b"], column_oriented=True)
    assert client.command(f"SELECT (count(), sum(a), sum(toUInt64(b))) FROM {table}") == (
        "(400000,79999800000,79999800000)"
    )


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_arrow_inserts_and_queries_keep_values_and_order(
    client: Client, table: str, compression: str | None
) -> None:
    arrow = pa.table({"a": pa.array(range(1000), pa.uint64()), "b": [str(n) for n in range(1000)]})
    client.insert_arrow(table, arrow, settings={"async_insert": 0})
    found = client.query_arrow(f"SELECT a, b FROM {table} ORDER BY a", use_strings=True)
    assert found.to_pylist() == arrow.to_pylist()
    with client.query_arrow_stream(f"SELECT a, b FROM {table}", use_strings=True) as batches:
        assert sum(batch.num_rows for batch in batches) == 1000


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        ("CSV", b'1,"x;y"\n2,z\n'),
        ("TSV", b"1\tx;y\n2\tz\n"),
        ("JSONEachRow", b'{"a": 1, "b": "x;y"}\n{"b": "z", "a": 2}\n'),
        ("RowBinary", b"\x01" + bytes(7) + b"\x03x;y" + b"\x02" + bytes(7) + b"\x01z"),
        ("Values", b"(1, 'x;y'), (2, 'z')"),
    ],
)
def test_every_format_is_taken_from_the_body_and_given_back(
    front: Front, client: Client, table: str, form: str, rows: bytes
) -> None:
    whole = f"INSERT INTO {table} (a, b) FORMAT {form}\n".encode() + rows
    assert ask(front, whole).status == 200
    apart = ask(front, rows, query=f"INSERT INTO {table} (a, b) FORMAT {form}")
    assert json.loads(apart.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    expected = [(1, "x;y", "none"), (1, "x;y", "none"), (2, "z", "none"), (2, "z", "none")]
    assert client.query(f"SELECT * FROM {table} ORDER BY a").result_rows == expected
    if form != "Values":
        query = f"SELECT a, b FROM {table} ORDER BY a LIMIT 1 BY a FORMAT {form}"
        back = ask(front, query=query).body
        assert ask(front, back, query=f"INSERT INTO {table} (a, b) FORMAT {form}").status == 200
        assert client.command(f"SELECT count() FROM {table}") == 6


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_request_bodies_may_be_compressed_in_several_frames(
    front: Front, client: Client, table: str, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(f"INSERT INTO {table} (a, b) FORMAT CSV\n1,a\n".encode()) + pack(b"2,b\n")
    assert ask(front, body, headers={"Content-Encoding": encoding}).status == 200
    assert client.command(f"SELECT groupArray(b) FROM {table}") == "['a','b']"
    broken = ask(front, body[:-9] + b"123456789", headers={"Content-Encoding": encoding})
    assert (broken.status, broken.headers["X-ClickHouse-Exception-Code"]) == (500, "271")
    assert client.command(f"SELECT count() FROM {table}") == 2


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "identity", "br"])
def test_responses_are_compressed_only_as_agreed(front: Front, encoding: str) -> None:
    unpack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }
    headers = {"Accept-Encoding": encoding}
    for rows, wait in itertools.product((10, 300_000), ("0", "1")):
        query = f"SELECT number FROM numbers({rows})"
        answer = ask(front, query.encode(), headers=headers, enable_http_compression="1",
                     wait_end_of_query=wait)  # fmt: skip
        assert answer.headers.get("Content-Encoding", "") == (
            encoding if encoding in unpack else ""
        )
        body = unpack.get(encoding, bytes)(answer.body)
        assert body == b"".join(b"%d\n" % n for n in range(rows))
        plain = ask(front, query.encode(), headers=headers)
        assert "Content-Encoding" not in plain.headers
        assert plain.body == body


def test_settings_hold_for_one_query_only(client: Client) -> None:
    ask_threads = "SELECT getSetting('max_threads'), getSetting('log_comment')"
    found = client.query(ask_threads, settings={"max_threads": 7, "log_comment": "it's"})
    assert found.result_rows == [(7, "it's")]
    assert client.query(ask_threads).result_rows[0][1] == ""
    error = error_of(lambda: client.query("SELECT 1", settings={"no_such_setting": 1}))
    assert (error.code, error.name) == (115, "UNKNOWN_SETTING")


def test_an_insert_has_its_own_token_and_comment_and_nothing_of_the_inserts_before(
    client: Client,
) -> None:
    client.command(
        "CREATE TABLE tokens (x UInt8, said String) ENGINE = MergeTree ORDER BY x"
        " SETTINGS non_replicated_deduplication_window = 100"
    )

    def insert(x: int, **settings: str) -> None:
        client.command(
            f"INSERT INTO tokens SELECT {x}, getSetting('log_comment')", settings=settings
        )

    for token, comment in (("a", "one"), ("b", "two"), ("a", "three"), ("b", "four")):
        insert(1, insert_deduplication_token=token, log_comment=comment)
    insert(2, log_comment="five")
    for x in (3, 4):  # of other rows, or they would be known by what they hold
        insert(x)
    found = client.query("SELECT x, said FROM tokens ORDER BY x, said").result_rows
    assert found == [(1, "one"), (1, "two"), (2, "five"), (3, ""), (4, "")]
    client.command("DROP TABLE tokens")


@pytest.mark.parametrize(
    "params",
    [
        {"role": "x"},
        {"quota_key": "x"},
        {"compress": "1"},
        {"buffer_size": "100"},
        {"http_response_headers": "{'a':'b'}"},
        {"session_check": "1"},
        {"output_format": "CSV"},
        {"run_query_in_background": "1"},
        {"client_protocol_version": "54405"},
    ],
)
def test_what_is_not_served_is_refused_not_ignored(front: Front, params: dict[str, str]) -> None:
    answer = ask(front, b"SELECT 1", headers=None, **params)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (501, "48")
    assert answer.body.startswith(b"Code: 48. DB::Exception: ")


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),
        ("SELEC 1", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("", 62, 400),
        ("SELECT nothing", 47, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("INSERT INTO nowhere FORMAT CSV\n1", 60, 404),
        ("SELECT 1 INTO OUTFILE '/tmp/never'", 48, 501),
        ("INSERT INTO nowhere FROM INFILE '/etc/passwd' FORMAT CSV", 48, 501),
        ("SET max_threads = 1", 48, 501),
        ("USE system", 48, 501),
        ("CREATE TEMPORARY TABLE x (a Int8)", 48, 501),
        ("SELECT 1 FORMAT NoSuchFormat", 73, 404),
    ],
)
def test_errors_have_clickhouses_code_and_form(
    front: Front, client: Client, query: str, code: int, status: int
) -> None:
    answer = ask(front, query.encode())
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert answer.body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert answer.body.count(b"DB::Exception") == 1
    assert error_of(lambda: client.command(query or " ")).code == code


def test_positions_in_syntax_errors_are_those_of_the_query_sent(front: Front) -> None:
    answer = ask(front, b"SELECT 1 FRMO system.one WHERE")
    assert b"failed at position 15 (system)" in answer.body


def test_an_error_in_the_middle_of_a_stream_breaks_the_stream(front: Front, client: Client) -> None:
    query = "SELECT number, throwIf(number = 4000000) FROM numbers(5000000)"
    with (
        pytest.raises(StreamFailureError, match="395"),
        client.query_row_block_stream(query) as blocks,
    ):
        for _ in blocks:
            pass
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(front, query.encode(), headers={}, max_threads="1")
    assert b"__exception__" in broken.value.partial[-1000:]
    assert error_of(lambda: client.query(query)).code == 395


def test_a_large_result_streams_in_flat_memory(front: Front, client: Client) -> None:
    query = "SELECT number, number * 2, toString(number), number / 3 FROM numbers(5000000)"
    client.raw_query("SELECT number FROM numbers(200000)")  # what the first query alone costs
    before = front.rss_bytes()
    size, highest = 0, before
    stream = client.raw_stream(query, fmt="ArrowStream")
    while data := stream.read(1 << 20):
        size += len(data)
        highest = max(highest, front.rss_bytes())
    stream.close()
    assert size > 90e6
    assert highest - before < 64e6
    with client.query_row_block_stream("SELECT number FROM numbers(5000000)") as blocks:
        assert sum(len(block) for block in blocks) == 5_000_000


def test_a_result_that_is_waited_for_is_spooled_to_disk_not_to_memory(front: Front) -> None:
    ask(front, b"SELECT 1")
    before = front.rss_bytes()
    query = b"SELECT number, number, number, number FROM numbers(5000000) FORMAT RowBinary"
    answer = ask(front, query, wait_end_of_query="1")
    assert len(answer.body) == 5_000_000 * 32 == int(answer.headers["Content-Length"])
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "5000000"
    assert front.rss_bytes() - before < 64e6
    assert list((front.directory / "spool").iterdir()) == []


def test_the_query_id_is_echoed_visible_and_unique_while_it_runs(
    front: Front, client: Client
) -> None:
    assert client.query("SELECT 1", settings={"query_id": "mine-1"}).query_id == "mine-1"
    with front.client() as other:
        running = Failing(lambda: other.command(FOREVER, settings={"query_id": "mine-2"}))
        eventually(lambda: running_with(client, "mine-2") == 1)
        twice = error_of(lambda: client.query("SELECT 1", settings={"query_id": "mine-2"}))
        assert (twice.code, twice.name) == (216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING")
        client.command("KILL QUERY WHERE query_id = 'mine-2' SYNC")
        error = running.join()
        assert isinstance(error, DatabaseError)
        assert error.code == 394
    assert client.query("SELECT 1", settings={"query_id": "mine-2"}).result_rows == [(1,)]


def test_a_running_insert_is_killed_by_its_log_comment(
    front: Front, client: Client, table: str
) -> None:
    insert = f"INSERT INTO {table} (a) {FOREVER}"
    with front.client() as zombie:
        running = Failing(lambda: zombie.command(insert, settings={"log_comment": table}))
        which = "Settings['log_comment'] = {t:String} AND query_kind = 'Insert'"
        count = f"SELECT count() FROM system.processes WHERE {which}"
        eventually(lambda: client.command(count, parameters={"t": table}) == 1)
        client.command(f"KILL QUERY WHERE {which} SYNC", parameters={"t": table})
        assert client.command(count, parameters={"t": table}) == 0
        error = running.join()
        assert isinstance(error, DatabaseError)
        assert error.code == 394
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_a_client_that_hangs_up_cancels_its_query(front: Front, client: Client) -> None:
    gone = http.client.HTTPConnection("127.0.0.1", front.port)
    params = urlencode(
        {"cancel_http_readonly_queries_on_client_close": "1", "query_id": "gone", "query": FOREVER}
    )
    headers = {"X-ClickHouse-User": OWNER[0], "X-ClickHouse-Key": OWNER[1]}
    gone.request("GET", f"/?{params}", headers=headers)
    eventually(lambda: running_with(client, "gone") == 1)
    gone.close()
    eventually(lambda: running_with(client, "gone") == 0)


def test_a_stream_nobody_reads_any_more_ends(front: Front, client: Client) -> None:
    stream = http.client.HTTPConnection("127.0.0.1", front.port)
    query = urlencode({"query": "SELECT number FROM numbers(100000000000)", "query_id": "left"})
    headers = {"X-ClickHouse-User": OWNER[0], "X-ClickHouse-Key": OWNER[1]}
    stream.request("GET", f"/?{query}", headers=headers)
    response = stream.getresponse()
    assert len(response.read(1 << 20)) == 1 << 20
    response.close()
    stream.close()
    eventually(lambda: running_with(client, "left") == 0)


def test_eight_clients_read_and_write_at_once(front: Front, client: Client, table: str) -> None:
    rounds, rows = 10, 2_000
    started = threading.Barrier(8)

    def write(worker: int) -> int:
        with front.client() as own:
            started.wait()
            for n in range(rounds):
                first = (worker * rounds + n) * rows
                block = [[first + k, "x"] for k in range(rows)]
                own.insert(table, block, column_names=["a", "b"])
        return rounds * rows

    def read(worker: int) -> int:
        seen = 0
        with front.client() as own:
            started.wait()
            for _ in range(rounds * 2):
                count, distinct = own.query(f"SELECT count(), uniqExact(a) FROM {table}").first_row
                assert count == distinct >= seen
                seen = count
        return 0

    with ThreadPoolExecutor(8) as threads:
        jobs = [threads.submit(write if n % 2 else read, n) for n in range(8)]
        written = sum(job.result(60) for job in jobs)
    assert client.command(f"SELECT uniqExact(a) FROM {table}") == written == 4 * rounds * rows


def test_queries_answer_while_an_insert_runs(front: Front, client: Client, table: str) -> None:
    insert = f"INSERT INTO {table} (a) {FOREVER}"
    with front.client() as writer:
        running = Failing(lambda: writer.command(insert, settings={"query_id": "slow"}))
        for n in range(20):
            assert client.command(f"SELECT {n}") == n
        client.command("KILL QUERY WHERE query_id = {id:String} SYNC", parameters={"id": "slow"})
        assert isinstance(running.join(), DatabaseError)


def test_one_session_runs_one_query_at_a_time(front: Front, client: Client) -> None:
    running = Failing(
        lambda: ask(front, query=FOREVER, session_id="s", query_id="held", session_timeout="60")
    )
    eventually(lambda: running_with(client, "held") == 1)
    locked = ask(front, query="SELECT 1", session_id="s")
    assert locked.headers["X-ClickHouse-Exception-Code"] == "373"
    client.command("KILL QUERY WHERE query_id = 'held' SYNC")
    assert running.join() is None
    assert ask(front, query="SELECT 1", session_id="s").body == b"1\n"


class Fence:
    """Protocol B's fence and its insert, as CLICKHOUSE.md §9 writes them."""

    schema = "a UInt64, b String"

    def __init__(self, front: Front, client: Client, table: str) -> None:
        self.front, self.client, self.table = front, client, table
        client.command(
            f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 1000"
        )
        client.command(
            "CREATE TABLE IF NOT EXISTS fence (t String, epoch UInt64)"
            " ENGINE = ReplacingMergeTree(epoch) ORDER BY t SETTINGS fsync_after_insert = 1,"
            " fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,"
            " min_compressed_bytes_to_fsync_after_merge = 1"
        )

    def raise_to(self, epoch: int) -> None:
        self.client.insert("fence", [[self.table, epoch]], column_names=["t", "epoch"])

    def insert(self, epoch: int, first: int, last: int) -> Answer:
        rows = self.client.raw_query(
            f"SELECT number AS a, toString(number) AS b FROM numbers({first}, {last - first + 1})",
            fmt="Native",
        )
        text = f"""INSERT INTO {self.table} (a, b) SELECT * FROM input('{self.schema}')
WHERE throwIf((SELECT max(epoch) FROM fence WHERE t = {{t:String}}) != {{epoch:UInt64}},
  'FENCED') = 0 FORMAT Native
SETTINGS async_insert = 0, deduplicate_insert = 'enable', max_insert_threads = 1,
  max_insert_block_size = 10000000, min_insert_block_size_rows = 10000000,
  min_insert_block_size_bytes = 0, log_comment = '{self.table}',
  insert_deduplication_token = '{self.table}:log:{first}-{last}:{epoch}:1'
"""
        params = {"param_t": self.table, "param_epoch": str(epoch), "wait_end_of_query": "1"}
        return ask(self.front, text.encode() + rows, **params)


def test_the_fenced_insert_writes_under_its_epoch_and_not_under_another(
    front: Front, client: Client, table: str
) -> None:
    fence = Fence(front, client, table)
    fence.raise_to(3)
    answer = fence.insert(3, 0, 99_999)
    assert (answer.status, answer.body) == (200, b"")
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "100000"
    assert client.command(f"SELECT (count(), max(a)) FROM {table}") == "(100000,99999)"
    parts = f"SELECT count() FROM system.parts WHERE active AND table = '{table}'"
    assert client.command(parts) == 1, "one insert is one block"
    fence.raise_to(4)
    refused = fence.insert(3, 100_000, 100_009)
    assert refused.headers["X-ClickHouse-Exception-Code"] == "395"
    assert b"FENCED" in refused.body
    assert client.command(f"SELECT count() FROM {table}") == 100_000
    assert fence.insert(4, 100_000, 100_009).status == 200
    assert client.command(f"SELECT uniqExact(a) FROM {table}") == 100_010


def test_a_fenced_insert_sent_twice_with_one_token_is_there_once(
    front: Front, client: Client, table: str
) -> None:
    fence = Fence(front, client, table)
    fence.raise_to(1)
    assert [fence.insert(1, 0, 999).status for _ in range(2)] == [200, 200]
    assert client.command(f"SELECT count() FROM {table}") == 1000


def test_bodies_larger_than_memory_may_hold_go_through_the_disk(
    front: Front, client: Client, table: str
) -> None:
    rows = 600_000
    data = client.raw_query(
        f"SELECT number AS a, repeat('x', 100) AS b FROM numbers({rows})", fmt="RowBinary"
    )
    assert len(data) > 32 << 20
    answer = ask(front, data, query=f"INSERT INTO {table} (a, b) FORMAT RowBinary")
    assert answer.status == 200
    assert client.command(f"SELECT (count(), sum(length(b))) FROM {table}") == (
        f"({rows},{rows * 100})"
    )
    assert list((front.directory / "spool").iterdir()) == []


def test_databases_are_chosen_per_request(front: Front, client: Client) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS other")
    client.command("CREATE TABLE other.here (a Int8) ENGINE = MergeTree ORDER BY a")
    with front.client(database="other") as there:
        there.insert("here", [[1]], column_names=["a"])
        assert there.command("SELECT (currentDatabase(), sum(a)) FROM here") == "('other',1)"
    assert client.command("SELECT currentDatabase()") == "default"
    assert (
        ask(front, b"SELECT 1", database="nowhere").headers["X-ClickHouse-Exception-Code"] == "81"
    )
    client.command("DROP DATABASE other SYNC")


def test_connections_are_kept_and_pipelined_requests_are_answered_in_order(front: Front) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.port)
    headers = {"X-ClickHouse-User": OWNER[0], "X-ClickHouse-Key": OWNER[1]}
    sockets = set()
    for n in range(5):
        for body in (f"SELECT {n}".encode(), iter([b"SEL", b"ECT ", str(n).encode()])):
            connection.request("POST", "/", body, headers, encode_chunked=True)
            response = connection.getresponse()
            assert response.read() == b"%d\n" % n
            sockets.add(id(connection.sock))
        connection.request("POST", "/", b"SELECT nothing", headers)
        assert connection.getresponse().read().startswith(b"Code: 47.")
    assert len(sockets) == 1
    connection.close()


def test_curl_asks_inserts_and_pings(front: Front, client: Client, table: str) -> None:
    def curl(*arguments: str, stdin: bytes = b"") -> bytes:
        command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout

    user = ("--user", ":".join(OWNER)) if ":" not in OWNER[0] else ()
    assert curl(front.url + "ping") == b"Ok.\n"
    assert curl(front.url + "replicas_status") == b"Ok.\n"
    assert curl(*user, front.url + "?query=SELECT%2041%2B1") == b"42\n"
    assert curl(*user, front.url, "--data-binary", "SELECT 1 AS a FORMAT JSONEachRow") == (
        b'{"a":1}\n'
    )
    rows = b"".join(b"%d,row\n" % n for n in range(300_000))  # large enough for Expect: continue
    query = f"INSERT%20INTO%20{table}%20(a,b)%20FORMAT%20CSV"
    insert = (*user, f"{front.url}?query={query}", "--data-binary", "@-")
    assert curl(*insert, stdin=rows) == b""
    chunked = (*insert, "--header", "Transfer-Encoding: chunked")
    assert curl(*chunked, stdin=rows) == b""
    assert client.command(f"SELECT count() FROM {table}") in (300_000, 600_000)
    packed = curl(*user, "--compressed", f"{front.url}?enable_http_compression=1&query=SELECT%201")
    assert packed == b"1\n"


def test_a_get_reads_only(front: Front, client: Client, table: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", front.port)
    headers = {"X-ClickHouse-User": OWNER[0], "X-ClickHouse-Key": OWNER[1]}
    connection.request("GET", "/?" + urlencode({"query": f"DROP TABLE {table}"}), headers=headers)
    response = connection.getresponse()
    assert response.headers["X-ClickHouse-Exception-Code"] == "164"
    response.read()
    connection.close()
    assert client.command(f"EXISTS TABLE {table}") == 1


def test_too_much_is_refused(tmp_path: Path) -> None:
    limits = ("--body-bytes-max", "100000", "--queries-max", "3", "--connections-max", "8")
    with running_front(tmp_path / "clickhouse", *limits) as front:
        big = b"SELECT 1 -- " + b"x" * 200_000
        for body in (big, gzip.compress(big)):
            headers = {"Content-Encoding": "gzip"} if body is not big else {}
            answer = ask(front, body, headers=headers)
            assert answer.headers["X-ClickHouse-Exception-Code"] == "191"
        slow: list[Failing] = []

        def full() -> bool:
            """Add one that takes a place for ever, and ask whether there is none left."""
            slow.append(Failing(lambda: ask(front, FOREVER.encode())))
            time.sleep(0.5)
            return ask(front, b"SELECT 1").headers.get("X-ClickHouse-Exception-Code") == "202"

        eventually(full)
        idle = [http.client.HTTPConnection("127.0.0.1", front.port) for _ in range(8)]
        for connection in idle:
            connection.connect()
        idle[-1].request("GET", "/ping")
        assert idle[-1].getresponse().status == 503
        for connection in idle:
            connection.close()
        front.end()
        assert not any(query.join() for query in slow), "each was answered"


async def test_the_asynchronous_client_is_served_as_well(front: Front) -> None:
    pytest.importorskip("aiohttp", reason="clickhouse-connect's asynchronous client needs aiohttp")
    import asyncio

    import clickhouse_connect

    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1", port=front.port, username=OWNER[0], password=OWNER[1]
    )
    try:
        await client.command("CREATE TABLE asynchronous (a UInt64) ENGINE = MergeTree ORDER BY a")
        await asyncio.gather(
            *(
                client.insert("asynchronous", [[n * 100 + k] for k in range(100)], ["a"])
                for n in range(8)
            )
        )
        answers = await asyncio.gather(
            *(client.query("SELECT {n:UInt8}", parameters={"n": n}) for n in range(8))
        )
        assert [answer.result_rows for answer in answers] == [[(n,)] for n in range(8)]
        found = await client.query("SELECT count(), uniqExact(a) FROM asynchronous")
        assert found.result_rows == [(800, 800)]
        total = 0
        async with await client.query_row_block_stream(
            "SELECT number FROM numbers(1000000)"
        ) as blocks:
            async for block in blocks:
                total += len(block)
        assert total == 1_000_000
        with pytest.raises(DatabaseError) as caught:
            await client.query("SELECT * FROM nowhere")
        assert caught.value.code == 60
        await client.command("DROP TABLE asynchronous SYNC")
    finally:
        await client.close()
