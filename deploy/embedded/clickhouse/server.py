"""ClickHouse's HTTP interface over the engine: one thread a connection, keep-alive, all bounded."""

import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from tidemill.deploy.embedded.clickhouse import reply
from tidemill.deploy.embedded.clickhouse.body import Body, Framed
from tidemill.deploy.embedded.clickhouse.compression import chosen, decoder, encoder
from tidemill.deploy.embedded.clickhouse.engine import Class, Engine, Result
from tidemill.deploy.embedded.clickhouse.hangup import Hangups
from tidemill.deploy.embedded.clickhouse.reader import Reader
from tidemill.deploy.embedded.clickhouse.reading import OUTFILE_KEYWORDS, Reading
from tidemill.deploy.embedded.clickhouse.refusals import (
    ABORTED,
    BAD_ARGUMENTS,
    NOT_ENOUGH_SPACE,
    SESSION_IS_LOCKED,
    SYNTAX_ERROR,
    Refused,
    refusal,
)
from tidemill.deploy.embedded.clickhouse.request import Request, parse, parse_url
from tidemill.deploy.embedded.clickhouse.users import User, authenticate

log = logging.getLogger("clickhouse")

IDLE_S = 120
SPOOL_MEMORY_BYTES = 8 << 20
DRAIN_BYTES_MAX = 64 << 20
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """What one process takes at once."""

    body_bytes_max: int = 1 << 30
    queries_max: int = 32
    connections_max: int = 128


class Server(ThreadingHTTPServer):
    """The listening socket and what all connections share."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        engine: Engine,
        users: Mapping[str, User],
        spool: Path,
        limits: Limits,
        instance: str,
    ) -> None:
        super().__init__(address, Handler)
        self.engine, self.users, self.spool, self.limits = engine, users, spool, limits
        self.instance = instance
        self.reader = Reader(engine)
        self.hangups = Hangups()
        self.threads = ThreadPoolExecutor(limits.queries_max, "query")
        self.draining = threading.Event()
        self._free_connections = threading.BoundedSemaphore(limits.connections_max)
        self._sessions: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Serve the connection on a thread of its own, unless there are too many."""
        assert isinstance(request, socket.socket)
        if not self._free_connections.acquire(blocking=False):
            request.sendall(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """The life of one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_connections.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is its client's affair; anything else is a bug and is shown."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError):
            log.warning("connection from %s: %s", client_address, error)
        else:
            log.exception("connection from %s", client_address)

    @contextmanager
    def session(self, user: User, session: str | None) -> Iterator[None]:
        """Mutual exclusion of the requests that name one session."""
        key = (user.name, session or "")
        if session is not None:
            with self._lock:
                if key in self._sessions:
                    raise refusal(SESSION_IS_LOCKED, "Session is locked by a concurrent client")
                self._sessions.add(key)
        try:
            yield
        finally:
            if session is not None:
                with self._lock:
                    self._sessions.discard(key)

    def drain(self, grace_s: float, cancel_s: float) -> None:
        """Refuse what is new, let running queries end, then cancel them."""
        self.draining.set()
        if not self._quiet(grace_s):
            self.engine.kill_all()
            self._quiet(cancel_s)
        self.hangups.close()
        self.server_close()

    def _quiet(self, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while self.engine.running_count():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


class Handler(BaseHTTPRequestHandler):
    """One connection; one request after the other."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """A question; it cannot change anything."""
        self._answer(readonly=True)

    def do_POST(self) -> None:
        """Any statement."""
        self._answer(readonly=False)

    def log_message(self, format: str, *args: object) -> None:
        """No access log: the engine has system.processes, the callers have their own."""

    def _answer(self, *, readonly: bool) -> None:
        framed: Framed | None = None
        self._extra: dict[str, str] = {}
        try:
            framed = self._framed()
            self._route(framed, readonly=readonly)
        except Refused as error:
            self._refuse(error)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
            return
        self._drain(framed)

    def _framed(self) -> Framed:
        coding = self.headers.get("Transfer-Encoding", "").strip().lower()
        length = self.headers.get("Content-Length")
        if coding not in ("", "chunked") or (coding and length is not None):
            raise refusal(BAD_ARGUMENTS, "A body has either a Content-Length or chunks")
        if length is not None and not length.isdecimal():
            raise refusal(BAD_ARGUMENTS, f"Not a Content-Length: {length!r}")
        return Framed(
            self.rfile,
            length=None if coding else int(length or 0),
            bytes_max=self.server.limits.body_bytes_max,
        )

    def _drain(self, framed: Framed | None) -> None:
        """Read what a refused request still sends: closing earlier could lose the answer."""
        budget = DRAIN_BYTES_MAX
        try:
            while framed is not None and not framed.finished and budget > 0:
                budget -= len(framed.read(1 << 16) or b"")
        except (Refused, ConnectionError, TimeoutError):
            budget = 0
        if framed is None or not framed.finished:
            self.close_connection = True

    def _route(self, framed: Framed, *, readonly: bool) -> None:
        url = urlsplit(self.path)
        if url.path in ("/ping", "/replicas_status"):
            self._whole(200, b"Ok.\n")
        elif url.path != "/":
            self._whole(404, f"There is no handle {url.path}\n".encode())
        else:
            self._statement(parse_url(url.query), framed, readonly=readonly)

    def _statement(self, params: dict[str, str], framed: Framed, *, readonly: bool) -> None:
        server = self.server
        headers = cast(Mapping[str, str], self.headers)
        user = authenticate(server.users, headers, params)
        if server.draining.is_set():
            self.close_connection = True
            raise refusal(ABORTED, "The server is shutting down")
        if readonly and "query" not in params:
            self._whole(200, b"Ok.\n")
            return
        plain = decoder(self.headers.get("Content-Encoding", ""), cast(BinaryIO, framed))
        body = Body(plain, bytes_max=server.limits.body_bytes_max)
        request = parse(params, headers, body, server.spool, readonly=readonly or user.readonly)
        self._extra = {
            "X-ClickHouse-Query-Id": request.query_id,
            "X-ClickHouse-Timezone": server.engine.timezone,
        }
        try:
            with server.session(user, request.session), server.engine.running(request.query_id):
                self._run(request, user)
        finally:
            request.close()

    def _run(self, request: Request, user: User) -> None:
        engine, statement = self.server.engine, request.statement
        rows = request.rows
        sql = statement.text if rows is None else statement.from_file(rows.path)
        kind = engine.classify(sql)
        if kind.statements > 1:
            raise refusal(SYNTAX_ERROR, "Multi-statements are not allowed")
        if user.readonly:
            names = [name for name, _ in request.context.settings]
            self.server.reader.check(statement, kind, names, request.params)
        if kind.name == "READ_ONLY" and statement.keyword in OUTFILE_KEYWORDS:
            self._read(request)
        else:
            self._execute(self._translated(request), sql, kind)

    def _translated(self, request: Request) -> Request:
        """A KILL QUERY names queries by our ids; the engine knows them by its own."""
        if request.statement.keyword != "KILL":
            return request
        text, params = request.statement.text, dict(request.params)
        for literal in set(request.statement.strings):
            engine_id = self.server.engine.engine_id(literal[1:-1])
            if engine_id is not None:
                text = text.replace(literal, f"'{engine_id}'")
        for name, value in params.items():
            params[name] = self.server.engine.engine_id(value) or value
        return replace(request, statement=replace(request.statement, text=text), params=params)

    def _execute(self, request: Request, sql: str, kind: Class) -> None:
        """Run a statement that has at most a small result."""
        text = request.statement.text if request.rows is None else sql
        result = self.server.engine.run(
            request.context, request.query_id, text, request.default_format, request.params,
            keeps=kind.name == "READ_ONLY" or request.statement.keyword == "INSERT",
        )  # fmt: skip
        body = result.bytes()
        extra = {"X-ClickHouse-Format": request.statement.format or request.default_format}
        self._whole(200, body, summary=reply.summary(result), **(extra if body else {}))

    def _read(self, request: Request) -> None:
        """Run a query and send its result: streamed, or whole where the client waits for it."""
        reading = Reading(self.server.engine, self.server.threads, request)
        try:
            if request.cancel_on_hangup:
                kill = self.server.engine.kill
                with self.server.hangups.cancelling(
                    self.connection, lambda: kill(request.query_id)
                ):
                    self._send_result(request, reading)
            else:
                self._send_result(request, reading)
        finally:
            reading.close()

    def _send_result(self, request: Request, reading: Reading) -> None:
        form = request.statement.format or request.default_format
        self._extra["X-ClickHouse-Format"] = form
        self._extra["Content-Type"] = reply.CONTENT_TYPES.get(form, reply.OCTETS)
        accepted = self.headers.get("Accept-Encoding", "")
        encoding = chosen(accepted) if request.compressed else ""
        first, complete = reading.first()
        if complete:
            self._finished(first, encoding, reading.result())
        elif request.wait_end or self.request_version == "HTTP/1.0":  # 1.0 knows no chunks
            self._spooled(first, encoding, reading)
        else:
            self._streamed(first, encoding, reading)

    def _finished(self, data: bytes, encoding: str, result: Result) -> None:
        if encoding and data:
            self._extra["Content-Encoding"] = encoding
            packer = encoder(encoding)
            data = packer.compress(data) + packer.flush()
        self._whole(200, data, summary=reply.summary(result))

    def _spooled(self, first: bytes, encoding: str, reading: Reading) -> None:
        packer = encoder(encoding)
        with tempfile.SpooledTemporaryFile(SPOOL_MEMORY_BYTES, dir=str(self.server.spool)) as spool:
            try:
                spool.write(packer.compress(first))
                for data in reading.parts():
                    spool.write(packer.compress(data))
                spool.write(packer.flush())
            except OSError as error:
                raise refusal(NOT_ENOUGH_SPACE, f"No room for the result: {error}") from None
            self._extra["X-ClickHouse-Summary"] = reply.summary(reading.result())
            self._extra |= {"Content-Encoding": encoding} if encoding else {}
            self._head(200, spool.tell())
            for data in reply.pieces(cast(BinaryIO, spool)):
                self.wfile.write(data)
        self.wfile.flush()

    def _streamed(self, first: bytes, encoding: str, reading: Reading) -> None:
        tag = reply.exception_tag()
        self._extra |= {"Content-Encoding": encoding} if encoding else {}
        self._extra[reply.EXCEPTION_TAG] = tag
        self._head(200, None)
        stream = reply.Stream(cast(BinaryIO, self.wfile), encoding, tag)
        stream.send(first)
        for data in reading.parts():
            stream.send(data)
        try:
            reading.result()
        except Refused as error:
            stream.break_off(error.body(self.server.engine.version))
            self.close_connection = True
            return
        stream.end()
        self.wfile.flush()

    def _refuse(self, error: Refused) -> None:
        for name in ("Content-Encoding", "X-ClickHouse-Format", "X-ClickHouse-Summary"):
            self._extra.pop(name, None)
        self._extra["Content-Type"] = "text/plain; charset=UTF-8"
        self._extra["X-ClickHouse-Exception-Code"] = str(error.code)
        self._whole(error.status, error.body(self.server.engine.version))

    def _whole(self, status: int, body: bytes, *, summary: str = "", **extra: str) -> None:
        if summary:
            self._extra["X-ClickHouse-Summary"] = summary
        self._extra |= extra
        self._head(status, len(body))
        self.wfile.write(body)
        self.wfile.flush()

    def _head(self, status: int, length: int | None) -> None:
        self.send_response_only(status)
        self.send_header("X-ClickHouse-Server-Display-Name", self.server.instance)
        for name, value in self._extra.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def working_directory(directory: Path) -> None:
    """Stand in an empty directory: chdb's `default` database takes names for files beside it."""
    empty = directory / "empty"
    empty.mkdir(exist_ok=True)
    os.chdir(empty)
