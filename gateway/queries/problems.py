"""What goes wrong with a question, in the reference's error envelope (F-256 to F-258).

{"success": false, "error": {"code", "message", "details"?}, "timestamp": ms}
"""

import logging
import time
import traceback
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tidemill.schemas.errors import Unavailable

log = logging.getLogger(__name__)

RETRY_AFTER_S = "1"
_HTTP_CODES = {404: "NOT_FOUND", 405: "INVALID_REQUEST"}


class Problem(Exception):
    """An answer that is an error: its HTTP status, code of F-258, message and details."""

    def __init__(self, status: int, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


def symbol_not_found(symbol: str, venue: str | None = None) -> Problem:
    """No instrument of that name, or pair, was defined at the position asked about."""
    where = f" at {venue}" if venue else ""
    return Problem(404, "SYMBOL_NOT_FOUND", f"no instrument or pair {symbol}{where}")


def render(problem: Problem) -> Response:
    """Return the error envelope of `problem`."""
    error: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.details is not None:
        error["details"] = problem.details
    body = {"success": False, "error": error, "timestamp": time.time_ns() // 1_000_000}
    headers = {"Retry-After": RETRY_AFTER_S} if problem.status == 503 else {}
    return Response(orjson.dumps(body), problem.status, headers, "application/json")


def of(error: BaseException, development: bool) -> Problem:
    """Return what a failure is to the one who asked; stack traces only in development."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Unavailable):
        log.warning("unavailable: %s", error)
        # Our own texts begin with the database's name; what follows may hold addresses.
        name = str(error).partition(":")[0]
        return Problem(503, "SERVICE_UNAVAILABLE", f"{name} is away or busy; try again")
    if isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code, "INVALID_REQUEST")
        return Problem(error.status_code, code, str(error.detail))
    log.error("a bug", exc_info=error)
    details = {"trace": traceback.format_exception(error)} if development else None
    return Problem(500, "INTERNAL_ERROR", "something is wrong here, not with the question", details)


def invalid(error: RequestValidationError) -> Problem:
    """Return 400 with every parameter that is not as it must be."""
    errors = [
        {
            "path": ".".join(str(part) for part in one["loc"]),
            "message": one["msg"].removeprefix("Value error, "),
            "code": one["type"],
        }
        for one in error.errors()
    ]
    return Problem(400, "VALIDATION_ERROR", "a parameter is not valid", {"errors": errors})


def install(app: FastAPI) -> None:
    """Have FastAPI's own errors rendered like all others."""

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return render(invalid(error))

    async def on_http(_: Request, error: Exception) -> Response:
        return render(of(error, False))

    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
