"""The front as a process: how a supervisor spawns it, what it prints, how it is probed."""

import json
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

USERS_VARIABLE = "TIDEMILL_CLICKHOUSE_USERS"
MODULE = "tidemill.deploy.embedded.clickhouse"


@dataclass(frozen=True)
class Ready:
    """The line the process prints once it serves. `instance` is new for every start."""

    host: str
    port: int
    pid: int
    instance: str
    version: str


def users_json(owner: tuple[str, str], reader: tuple[str, str]) -> str:
    """The users of a front: one (name, password) that may do everything, one that may read."""
    return json.dumps(
        {
            owner[0]: {"password": owner[1], "readonly": False},
            reader[0]: {"password": reader[1], "readonly": True},
        }
    )


def command(
    directory: Path, users: str, *, host: str = "127.0.0.1", port: int = 0, with_parent: bool = True
) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment that start a front on `directory`.

    users: see `users_json`; travels in the environment, so no password is on a command line.
    with_parent: it stops by itself when the calling process, which must start it, is gone.
    """
    argv = [sys.executable, "-m", MODULE]
    argv += ["--path", str(directory), "--host", host, "--port", str(port)]
    if with_parent:
        argv += ["--parent-pid", str(os.getpid())]
    return argv, {**os.environ, USERS_VARIABLE: users, "TZ": "UTC"}


def parse_ready(line: str) -> Ready:
    """The process's first line of standard output. Raises ValueError if it is not that line."""
    found = json.loads(line)
    if found.pop("ready", None) is not True:
        raise ValueError(f"not a ready line: {line!r}")
    return Ready(**found)


def probe(host: str, port: int, *, instance: str | None = None, timeout_s: float = 1.0) -> bool:
    """Whether a front answers there; with `instance`, whether it is that one."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{port}/ping", timeout=timeout_s) as response:
            name = response.headers.get("X-ClickHouse-Server-Display-Name")
            return response.read() == b"Ok.\n" and instance in (None, name)
    except (urllib.error.URLError, OSError):
        return False
