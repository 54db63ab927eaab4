"""What commands print and how they end: one JSON line last, everything else to standard error."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn

import orjson
import structlog
import uvloop

from tidemill.deploy.settings import Missing
from tidemill.deploy.supervisor.child import ChildFailed
from tidemill.deploy.supervisor.lock import AlreadyRunning
from tidemill.schemas.errors import Fenced, Regressed, Unavailable, Unreadable


class Exit(IntEnum):
    """Exit statuses of every command."""

    HELD = 0
    DID_NOT_HOLD = 1
    USAGE = 2
    COULD_NOT_TELL = 3


def say(text: str) -> None:
    """Print a line for people."""
    print(text, file=sys.stderr, flush=True)


def answer(result: dict[str, Any], json: bool) -> None:
    """Print a command's result: one JSON line, or lines for people."""
    if json:
        print(orjson.dumps(result).decode(), flush=True)
        return
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, inner in value.items():
                print(f"  {key}: {_plain(inner)}")
        else:
            print(f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {inner}" for key, inner in value.items())
    return str(value)


def run(main: Coroutine[Any, Any, Exit]) -> NoReturn:
    """Run a command to its exit status; what a user can mend is a message, not a trace."""
    configure_logs()
    try:
        sys.exit(uvloop.run(main))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    except BaseExceptionGroup as group:
        _end(group)
    except Exception as error:
        _end(error)


def _end(error: BaseException) -> NoReturn:
    found = _first(error)
    match found:
        case Missing() | AlreadyRunning() | FileNotFoundError() | ValueError():
            status = Exit.USAGE
        case Unavailable() | ChildFailed() | OSError():
            status = Exit.COULD_NOT_TELL
        case Unreadable() | Fenced() | Regressed():
            status = Exit.DID_NOT_HOLD
        case _:
            raise error
    say(f"{type(found).__name__}: {found}")
    sys.exit(status)


def _first(error: BaseException) -> BaseException:
    """Return the error that a group of tasks ended with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def configure_logs() -> None:
    """Write logs as JSON lines on standard error, the standard library's among them."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    render = structlog.processors.JSONRenderer(serializer=lambda v, **_: orjson.dumps(v).decode())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
