"""The life of the front's process: started, stopped, killed, started again."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, Error

from tidemill.deploy.embedded.clickhouse.process import (
    MODULE,
    USERS_VARIABLE,
    parse_ready,
    probe,
    users_json,
)
from tidemill.tests.deploy.clickhouse_front import (
    OWNER,
    READER,
    Failing,
    Front,
    eventually,
    running_front,
)

pytestmark = pytest.mark.integration

TABLE = "CREATE TABLE kept (n UInt64, k UInt32) ENGINE = MergeTree PARTITION BY n % 2 ORDER BY n"


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with running_front(tmp_path / "clickhouse") as front:
        yield front


def test_it_says_when_it_is_ready_and_where(front: Front) -> None:
    assert front.ready is not None
    assert probe("127.0.0.1", front.port, instance=front.ready.instance)
    assert not probe("127.0.0.1", front.port, instance="another")
    front.end()
    assert not probe("127.0.0.1", front.port)
    with pytest.raises(ValueError):
        parse_ready('{"ready": false}')


def test_a_connection_that_is_reset_is_told_in_a_line_without_a_trace(front: Front) -> None:
    with socket.create_connection(("127.0.0.1", front.port)) as client:
        client.sendall(b"GET /ping HTTP/1.1\r\nHost: here\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: "reset by peer" in front.log.read_text())
    assert "Traceback" not in front.log.read_text()


def test_passwords_are_not_on_its_command_line(front: Front) -> None:
    command = Path(f"/proc/{front.process.pid}/cmdline").read_bytes()
    assert OWNER[1].encode() not in command
    assert READER[1].encode() not in command


def test_it_runs_without_users_never(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", MODULE, "--path", str(tmp_path / "x"), "--port", "0"]
    env = {k: v for k, v in os.environ.items() if k != USERS_VARIABLE}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 2
    assert USERS_VARIABLE in ended.stderr
    assert ended.stdout == ""


def test_users_may_come_from_a_file(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    users.write_text(users_json(OWNER, READER))
    argv = [sys.executable, "-m", MODULE, "--path", str(tmp_path / "x"), "--port", "0"]
    env = {k: v for k, v in os.environ.items() if k != USERS_VARIABLE}
    with subprocess.Popen(
        [*argv, "--users-file", str(users)], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_what_is_there_stays(front: Front, number: int) -> None:
    with front.client() as client:
        client.command(TABLE)
        client.insert("kept", [[n, 0] for n in range(1000)], column_names=["n", "k"])
        client.command("CREATE DATABASE more")
    began = time.monotonic()
    assert front.end(number) == 0
    assert time.monotonic() - began < 5
    front.start()
    with front.client() as client:
        assert client.command("SELECT count() FROM kept") == 1000
        assert client.command("EXISTS DATABASE more") == 1


def test_a_signal_lets_short_queries_end_and_cancels_long_ones(front: Front) -> None:
    short_s = "SELECT sum(sleepEachRow(0.5)) FROM numbers(3) SETTINGS max_block_size = 1"
    answers: list[object] = []
    with front.client() as one, front.client() as two:
        short = Failing(lambda: answers.append(one.command(short_s)))
        forever = "SELECT count() FROM numbers(100000000000) WHERE sin(number) > 2"
        long = Failing(lambda: two.command(forever))
        time.sleep(0.5)
        began = time.monotonic()
        assert front.end() == 0
        assert time.monotonic() - began < 7
        assert short.join() is None
        assert answers == [0]
        error = long.join()
        assert isinstance(error, DatabaseError)
        assert error.code == 394


def test_a_second_process_on_the_same_directory_is_refused(front: Front) -> None:
    second = front.spawn()
    assert second.wait(20) == 2
    assert second.stdout is not None
    assert second.stdout.read() == ""
    second.stdout.close()
    assert "in use by another process" in front.log.read_text()
    with front.client() as client:
        assert client.command("SELECT 1") == 1


def test_a_port_in_use_is_said_clearly(front: Front, tmp_path: Path) -> None:
    other = Front(tmp_path / "other")
    process = other.spawn("--port", str(front.port))
    assert process.wait(20) == 2
    assert process.stdout is not None
    process.stdout.close()
    assert "Address already in use" in other.log.read_text()


def test_what_a_killed_process_left_in_its_spool_is_removed(front: Front) -> None:
    left = front.directory / "spool" / "left"
    left.write_bytes(b"x" * 1000)
    front.end(signal.SIGKILL)
    front.start()
    assert not left.exists()


def test_acknowledged_rows_survive_kill_9_in_the_middle_of_inserts(front: Front) -> None:
    """Each insert is one batch `n` of 500 rows in one partition: all of it or nothing."""
    rows = 500
    acknowledged: set[int] = set()
    taken = iter(range(1_000_000))
    lock = threading.Lock()
    with front.client() as client:
        client.command(TABLE)

    def write() -> None:
        with front.client() as own:
            while True:
                with lock:
                    n = next(taken)
                columns = [[n] * rows, list(range(rows))]
                own.insert("kept", columns, column_names=["n", "k"], column_oriented=True)
                acknowledged.add(n)

    for _ in range(3):
        floor = len(acknowledged) + 20
        writers = [Failing(write) for _ in range(3)]
        eventually(lambda floor=floor: len(acknowledged) >= floor, 30)
        front.end(signal.SIGKILL)
        assert all(isinstance(writer.join(), Error) for writer in writers)
        front.start()
        with front.client() as client:
            batches = dict(client.query("SELECT n, count() FROM kept GROUP BY n").result_rows)
            assert set(batches) >= acknowledged
            assert set(batches.values()) == {rows}


def test_it_stops_when_the_process_that_started_it_is_gone(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from tidemill.deploy.embedded.clickhouse.process import command, users_json\n"
        f"argv, env = command(Path({str(tmp_path / 'x')!r}), users_json(('a', 'b'), ('c', 'd')))\n"
        "child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline(), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        ready = parse_ready(parent.stdout.readline())
        assert probe("127.0.0.1", ready.port, instance=ready.instance)
        parent.kill()
    eventually(lambda: not probe("127.0.0.1", ready.port))
    status = Path(f"/proc/{ready.pid}/status")
    # Gone, or ended and waiting to be reaped by whoever adopted it.
    eventually(lambda: not status.exists() or "State:\tZ" in status.read_text())
