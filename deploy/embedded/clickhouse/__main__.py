"""Runs the front: `python -m tidemill.deploy.embedded.clickhouse --path DIR --port N`.

Users come from --users-file or the environment (see `users.parse_users`). One line of JSON on
standard output says when it serves. Exit status: 0 stopped by a signal, 2 configuration or a
directory already in use.
"""

import argparse
import fcntl
import json
import logging
import os
import shutil
import signal
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from tidemill.deploy.embedded.clickhouse.process import USERS_VARIABLE
from tidemill.deploy.embedded.clickhouse.users import User, parse_users

if TYPE_CHECKING:
    from tidemill.deploy.embedded.clickhouse.engine import Engine
    from tidemill.deploy.embedded.clickhouse.server import Server

GRACE_S = 3.0
CANCEL_S = 2.0
PARENT_POLL_S = 0.5


def main() -> None:
    """Parse, lock, open, serve until SIGTERM or SIGINT."""
    arguments = _arguments()
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    users = _users(arguments.users_file)
    directory = arguments.path.resolve()
    spool = directory / "spool"
    directory.mkdir(parents=True, exist_ok=True)
    lock = _lock(directory)
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    engine, server = _open(directory, spool, users, arguments)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}).start()
    _say_ready(server, engine)
    while not stop.wait(PARENT_POLL_S):
        if arguments.parent_pid is not None and os.getppid() != arguments.parent_pid:
            break
    server.shutdown()
    server.drain(GRACE_S, CANCEL_S)
    engine.close()
    lock.close()
    sys.stdout.flush()
    # Threads of clients that are still connected, and of queries that ignored their
    # cancellation, must not keep the process: what was acknowledged is on disk.
    os._exit(0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="clickhouse-front", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data directory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123, help="0: any free one")
    parser.add_argument("--users-file", type=Path, help=f"default: ${USERS_VARIABLE}")
    parser.add_argument("--body-bytes-max", type=int, default=1 << 30)
    parser.add_argument("--queries-max", type=int, default=32)
    parser.add_argument("--connections-max", type=int, default=128)
    parser.add_argument("--parent-pid", type=int, help="stop when this is not the parent any more")
    return parser.parse_args()


def _users(file: Path | None) -> dict[str, User]:
    try:
        text = file.read_text() if file else os.environ.pop(USERS_VARIABLE, "")
        if not text:
            raise ValueError(f"give users in --users-file or ${USERS_VARIABLE}")
        return parse_users(text)
    except (OSError, ValueError) as error:
        _give_up(str(error))


def _lock(directory: Path) -> TextIO:
    """Hold the directory until the process ends, however it ends."""
    lock = (directory / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _give_up(f"{directory} is in use by another process")
    return lock


def _open(
    directory: Path, spool: Path, users: dict[str, User], arguments: argparse.Namespace
) -> tuple["Engine", "Server"]:
    # The engine is 0.5 GB and takes a second: nothing of it is loaded before the lock is held,
    # and it reads its time zone from the environment when it is.
    os.environ["TZ"] = "UTC"
    from tidemill.deploy.embedded.clickhouse.engine import Engine
    from tidemill.deploy.embedded.clickhouse.server import Limits, Server, working_directory

    working_directory(directory)
    try:
        engine = Engine(directory, queries_max=arguments.queries_max)
        limits = Limits(arguments.body_bytes_max, arguments.queries_max, arguments.connections_max)
        address = (arguments.host, arguments.port)
        return engine, Server(address, engine, users, spool, limits, str(uuid.uuid4()))
    except (OSError, ValueError, RuntimeError) as error:
        _give_up(f"{directory}: {error}")


def _say_ready(server: "Server", engine: "Engine") -> None:
    host, port = server.server_address[:2]
    ready = {
        "ready": True,
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "instance": server.instance,
        "version": engine.version,
    }
    print(json.dumps(ready), flush=True)


def _give_up(why: str) -> NoReturn:
    print(f"clickhouse front: {why}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
