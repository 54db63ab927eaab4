"""Refusals in ClickHouse's own words: a numeric code, its name and the HTTP status of both.

Codes are those of ClickHouse's `ErrorCodes.cpp`, statuses those of its `exceptionCodeToHTTPStatus`.
Everything the engine raises becomes a `Refused` too, so a client sees one kind of error whether
the front or the engine said no.
"""

import re

BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_COMPRESSION_METHOD = 89
READONLY = 164
QUERY_IS_TOO_LARGE = 191
TOO_MANY_SIMULTANEOUS_QUERIES = 202
SOCKET_TIMEOUT = 209
ABORTED = 236
QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING = 216
NOT_ENOUGH_SPACE = 243
CANNOT_DECOMPRESS = 271
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
STD_EXCEPTION = 1001

NAMES = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    READONLY: "READONLY",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    SOCKET_TIMEOUT: "SOCKET_TIMEOUT",
    ABORTED: "ABORTED",
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    STD_EXCEPTION: "STD_EXCEPTION",
}

_STATUSES = {
    400: (6, 26, 27, 36, 38, 41, 43, 53, 62, 69, 70, 72, 130, 131, 191, 457),
    401: (194,),
    403: (192, 193, 497, 516),
    404: (46, 47, 50, 60, 63, 73, 81, 115, 456),
    408: (159,),
    501: (48,),
}
_STATUS_BY_CODE = {code: status for status, codes in _STATUSES.items() for code in codes}

_CODE = re.compile(r"Code: (\d+)\. ")
# chdb wraps some exceptions in themselves: the same code, twice or thrice in a row.
_WRAPPED = re.compile(r"(Code: \d+\. DB::[A-Za-z]*Exception: )(?=Code: \d+\. DB::)")
_VERSION = re.compile(r"((?: \([A-Z_0-9]+\))? \(version [^()]*\)\.?)+(?= \([A-Z_0-9]+\)$|$)")


class Refused(Exception):
    """A request that gets an error answer: `code` and `message` in ClickHouse's form."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status ClickHouse gives this code."""
        return _STATUS_BY_CODE.get(self.code, 500)

    def body(self, version: str) -> bytes:
        """The body ClickHouse would send: `Code: N. DB::Exception: text. (NAME) (version V)`."""
        return f"{self.message} (version {version})\n".encode()


def refusal(code: int, text: str) -> Refused:
    """A refusal by the front itself, worded like the engine's."""
    return Refused(code, f"Code: {code}. DB::Exception: {text.rstrip('.')}. ({NAMES[code]})")


def engine_refusal(error: RuntimeError) -> Refused:
    """What the engine raised, with the code it names (1001 where it names none)."""
    message = str(error)
    start = message.find("Code: ")
    if start < 0:
        return refusal(STD_EXCEPTION, message)
    message = _VERSION.sub("", _WRAPPED.sub("", message[start:].strip()))
    found = _CODE.match(message)
    return Refused(int(found.group(1)) if found else STD_EXCEPTION, message)
