"""A ClickHouse front of a test's own: a process that the test may kill and start again."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from tidemill.deploy.embedded.clickhouse.process import Ready, command, parse_ready, users_json

OWNER, READER = ("owner", "owner's: password/"), ("reader", "reader's password")


class Front:
    """One data directory and, while it is started, the process that serves it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory.with_suffix(".log")
        self.ready: Ready | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    @property
    def port(self) -> int:
        assert self.ready is not None
        return self.ready.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def spawn(self, *extra: str) -> subprocess.Popen[str]:
        argv, env = command(self.directory, users_json(OWNER, READER))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*argv, *extra], env=env, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def start(self, *extra: str) -> None:
        self._process = self.spawn(*extra)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()[-4000:]
        self.ready = parse_ready(line)
        assert self.ready.pid == self._process.pid

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        os.kill(self.process.pid, number)
        status = self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextmanager
    def client(self, user: tuple[str, str] = OWNER, **options: Any) -> Iterator[Client]:
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=user[0], password=user[1], **options
        )
        try:
            assert client.server_version == "26.9.2.1"
            yield client
        finally:
            client.close()


@contextmanager
def running_front(directory: Path, *extra: str) -> Iterator[Front]:
    """A started front, stopped at the end however the test went."""
    front = Front(directory)
    front.start(*extra)
    try:
        yield front
    finally:
        if front.process.poll() is None:
            front.end(signal.SIGKILL)


class Failing:
    """Runs a function on a thread; `error` is what it raised, once it ended."""

    def __init__(self, run: Any) -> None:
        self.error: BaseException | None = None
        self._run = run
        self._thread = threading.Thread(target=self._guarded)
        self._thread.start()

    def _guarded(self) -> None:
        try:
            self._run()
        except Exception as error:  # the test looks at it
            self.error = error

    def join(self, timeout_s: float = 20) -> BaseException | None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "still running"
        return self.error


def eventually(condition: Any, timeout_s: float = 60) -> None:
    """Wait until `condition()` holds; an assertion fails when it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "never became true"
        time.sleep(0.02)
