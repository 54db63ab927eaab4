"""A request of ClickHouse's HTTP interface, read to its end: who asks what, under which settings.

Everything in the URL is either known here, a bound parameter (`param_x`) or a setting, which the
engine checks. What is known but not served is refused, never ignored.
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from urllib.parse import parse_qsl

from tidemill.deploy.embedded.clickhouse.body import Body, Rows
from tidemill.deploy.embedded.clickhouse.engine import Context, check_query_id
from tidemill.deploy.embedded.clickhouse.refusals import (
    BAD_ARGUMENTS,
    NOT_ENOUGH_SPACE,
    NOT_IMPLEMENTED,
    QUERY_IS_TOO_LARGE,
    refusal,
)
from tidemill.deploy.embedded.clickhouse.statement import Data, Statement, cut

HEAD_BYTES = 256 << 10  # ClickHouse's max_query_size: an INSERT's text ends within it
TEXT_BYTES_MAX = 16 << 20  # statements that are all text, and forms

_FALSE, _TRUE = ("0", "false", ""), ("1", "true")
# Known to ClickHouse's interface, not to this one: refused unless they ask for nothing.
_UNSERVED = (
    "buffer_size",
    "client_protocol_version",
    "compress",
    "decompress",
    "quota_key",
    "role",
    "session_check",
    "stacktrace",
)
# Settings the engine knows but only a server's HTTP interface would act on, or that would say
# otherwise than the statement in what form its data comes.
_UNSERVED_SETTINGS = (
    "add_http_cors_header",
    "compression",
    "format",
    "framing_output_format",
    "http_native_compression_disable_checksumming_on_decompress",
    "http_response_buffer_size",
    "http_response_headers",
    "http_write_exception_in_output_format",
    "http_zlib_compression_level",
    "input_format",
    "output_format",
    "replace_running_query",
    "run_query_in_background",
)
_OURS = (
    "database",
    "default_format",
    "password",
    "query",
    "query_id",
    "session_id",
    "session_timeout",
    "user",
    "wait_end_of_query",
)
_SESSION_STATE = re.compile(
    r"\s*(SET|USE|BEGIN|COMMIT|ROLLBACK|EXECUTE|(CREATE|DROP|REPLACE)\s+(OR\s+REPLACE\s+)?TEMPORARY)\b",
    re.I,
)


@dataclass(frozen=True)
class Request:
    """One statement with everything around it. `rows` is open until `close`."""

    statement: Statement
    rows: Rows | None
    context: Context
    params: dict[str, str]
    query_id: str
    session: str | None
    wait_end: bool
    compressed: bool
    cancel_on_hangup: bool
    default_format: str

    def close(self) -> None:
        """Free the rows."""
        if self.rows is not None:
            self.rows.close()


def parse_url(query_string: str) -> dict[str, str]:
    """The URL's parameters. Raises Refused for one given twice."""
    pairs = parse_qsl(query_string, keep_blank_values=True)
    params = dict(pairs)
    if len(params) != len(pairs):
        raise refusal(BAD_ARGUMENTS, "A parameter of the URL is given twice")
    return params


def parse(
    params: Mapping[str, str],
    headers: Mapping[str, str],
    body: Body,
    spool: Path,
    *,
    readonly: bool,
) -> Request:
    """Read the body and take the request apart. Raises Refused."""
    fields = dict(params)
    if headers.get("Content-Type", "").startswith("multipart/form-data"):
        fields |= _form(headers["Content-Type"], body)
    settings = _settings(fields)
    query_id = check_query_id(fields.get("query_id") or str(uuid.uuid4()))
    database = fields.get("database") or headers.get("X-ClickHouse-Database", "")
    wait = _flag(fields, "wait_end_of_query") or _flag(settings, "http_wait_end_of_query")
    default_format = fields.get("default_format") or headers.get("X-ClickHouse-Format", "")
    if default_format and not default_format.isidentifier():
        raise refusal(BAD_ARGUMENTS, f"Not the name of a format: {default_format!r}")
    session = _session(fields)
    statement, rows = _read(fields.get("query", "").encode(), body, spool)
    return Request(
        statement=statement,
        rows=rows,
        context=Context(
            database, tuple(sorted(settings.items())), statement.settings_after_format, readonly
        ),
        params={k.removeprefix("param_"): v for k, v in fields.items() if k.startswith("param_")},
        query_id=query_id,
        session=session,
        wait_end=wait,
        compressed=_flag(settings, "enable_http_compression"),
        cancel_on_hangup=_flag(settings, "cancel_http_readonly_queries_on_client_close"),
        default_format=default_format or "TabSeparated",
    )


def _flag(params: Mapping[str, str], name: str) -> bool:
    value = params.get(name, "0").lower()
    if value not in (*_FALSE, *_TRUE):
        raise refusal(BAD_ARGUMENTS, f"{name} is 0 or 1, not {value!r}")
    return value in _TRUE


def _settings(fields: Mapping[str, str]) -> dict[str, str]:
    for name in (*_UNSERVED, *_UNSERVED_SETTINGS):
        if fields.get(name, "").lower() not in _FALSE:
            raise refusal(NOT_IMPLEMENTED, f"{name} is not served by the embedded ClickHouse")
    known = {*_OURS, *_UNSERVED, *_UNSERVED_SETTINGS}
    return {k: v for k, v in fields.items() if k not in known and not k.startswith("param_")}


def _session(fields: Mapping[str, str]) -> str | None:
    """A session here is only mutual exclusion: statements that would leave state are refused."""
    timeout = fields.get("session_timeout", "")
    if timeout and not timeout.isdecimal():
        raise refusal(BAD_ARGUMENTS, f"session_timeout is a number of seconds, not {timeout!r}")
    return fields.get("session_id") or None


def _form(content_type: str, body: Body) -> dict[str, str]:
    """`query` and `param_x` sent as form fields, as clients do when a URL would be too long."""
    raw, whole = body.read_at_least(TEXT_BYTES_MAX)
    if not whole:
        raise refusal(QUERY_IS_TOO_LARGE, f"A form may have {TEXT_BYTES_MAX} bytes")
    message = BytesParser(policy=HTTP).parsebytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + raw
    )
    fields = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="Content-Disposition")
        if not isinstance(name, str) or part.get_filename() is not None:
            raise refusal(NOT_IMPLEMENTED, "External tables are not served")
        if name != "query" and not name.startswith("param_"):
            raise refusal(NOT_IMPLEMENTED, f"The form field {name!r} is not served")
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        fields[name] = payload.decode()
    return fields


def _read(query: bytes, body: Body, spool: Path) -> tuple[Statement, Rows | None]:
    """The statement, which may begin in the URL and go on in the body, and its rows."""
    head, whole = body.read_at_least(HEAD_BYTES)
    raw = query + b"\n" + head if query else head
    found = cut(raw, whole=whole)
    if found is None:
        rest, whole = body.read_at_least(TEXT_BYTES_MAX)
        if not whole:
            raise refusal(
                QUERY_IS_TOO_LARGE, f"The text of a query may have {TEXT_BYTES_MAX} bytes"
            )
        found = cut(raw + rest, whole=True)
    assert found is not None
    statement, data_at = found
    if statement.data is Data.NONE:
        if _SESSION_STATE.match(statement.text):
            raise refusal(
                NOT_IMPLEMENTED, "Statements that leave state in a session are not served"
            )
        return statement, None
    return statement, _rows(memoryview(raw)[data_at:], body, spool)


def _rows(first: memoryview, body: Body, spool: Path) -> Rows:
    rows = Rows(spool)
    try:
        rows.write(first)
        while data := body.read():
            rows.write(data)
    except OSError as error:
        rows.close()
        if isinstance(error, (ConnectionError, TimeoutError)):
            raise
        raise refusal(NOT_ENOUGH_SPACE, f"No room for the rows of the insert: {error}") from None
    except BaseException:
        rows.close()
        raise
    return rows
