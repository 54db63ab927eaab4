"""Statements cut from a request: where the query ends, where its data begins, what it asks for.

ClickHouse's HTTP interface takes `<query text>\\n<data>` as one run of bytes; only a parser can
tell where the one ends. This reads as much of the grammar as that takes: strings, comments,
brackets, and the clauses FORMAT, SETTINGS, VALUES and `input(...)`. What a statement *may do* is
never decided here but by the engine's own parser.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from tidemill.deploy.embedded.clickhouse.refusals import NOT_IMPLEMENTED, SYNTAX_ERROR, refusal

_TOKEN = re.compile(
    rb"""(?P<blank>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^'\\]|\\.|'')*')
    |(?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>\d[\w.]*)
    |(?P<mark>.)""",
    re.S | re.X,
)
_SETTINGS_AFTER_FORMAT = re.compile(rb"\s*SETTINGS\s+(?=\w+\s*=)", re.I)
_GAP_BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")

_OPEN, _CLOSE = b"([{", b")]}"
_KNOWN_BYTES_MAX = 8 << 10


@dataclass(frozen=True)
class Token:
    """A lexeme: its kind, the bytes `[start, end)` it spans, and the brackets open around it."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        """The upper-case keyword this could be; empty for anything but a bare word."""
        return self.text.upper().decode() if self.kind == "word" else ""


class Data(Enum):
    """Where the rows of a statement come from."""

    NONE = "the statement has no rows beside its text"
    BODY = "INSERT ... FORMAT: rows follow the text"
    INPUT = "INSERT ... SELECT ... input(...) FORMAT: rows follow the text"


@dataclass(frozen=True)
class Statement:
    """One statement and the offsets at which the front puts its own clauses.

    text: the query without its data, FORMAT clause (inserts), trailing semicolon.
    keyword: its first word, upper case. format: the FORMAT it names, if any.
    clause_at: where FROM INFILE or INTO OUTFILE goes. input_at: `input`'s first argument.
    settings_after_format: the bare `a = 1, b = 2` that followed FORMAT in an INSERT.
    """

    text: str
    keyword: str
    data: Data = Data.NONE
    format: str | None = None
    clause_at: int = 0
    input_span: tuple[int, int] = (0, 0)
    settings_after_format: str = ""
    setting_names: frozenset[str] = frozenset()
    strings: tuple[str, ...] = ()

    def into_outfile(self, path: str, default_format: str) -> str:
        """The statement writing its result to `path` in its own format, or the default."""
        if self.format is None:
            return f"{self.text}\nINTO OUTFILE '{path}' APPEND FORMAT {default_format}"
        head, tail = self._parted()
        return f"{head} INTO OUTFILE '{path}' APPEND {tail}"

    def from_file(self, path: str) -> str:
        """The statement reading its rows from `path` instead of from the request."""
        if self.data is Data.INPUT:
            raw, (start, end) = self.text.encode(), self.input_span
            source = f"file('{path}', '{self.format}', ".encode()
            return (raw[:start] + source + raw[end:]).decode()
        head, tail = self._parted()
        return f"{head} FROM INFILE '{path}' {tail} FORMAT {self.format}"

    def _parted(self) -> tuple[str, str]:
        raw = self.text.encode()
        return raw[: self.clause_at].decode(), raw[self.clause_at :].decode()


def tokens(raw: bytes, start: int = 0) -> Iterator[Token]:
    """The tokens of `raw` from `start`, blanks and comments left out, lazily."""
    depth = 0
    for found in _TOKEN.finditer(raw, start):
        kind, text = str(found.lastgroup), found.group()
        if kind == "blank":
            continue
        if kind == "mark" and text in _OPEN:
            depth += 1
        elif kind == "mark" and text in _CLOSE:
            depth -= 1
        yield Token(kind, text, found.start(), found.end(), depth)


def cut(raw: bytes, *, whole: bool) -> tuple[Statement, int] | None:
    """The statement at the head of `raw` and the offset of its data.

    Returns None when `raw` is only a prefix (`whole` false) and ends before that is known.
    Raises Refused for empty text, several statements, INTO OUTFILE and FROM INFILE.
    """
    first = next(tokens(raw), None)
    if first is None and whole:
        raise refusal(SYNTAX_ERROR, "Empty query")
    if first is not None and first.word == "INSERT":
        found = _insert(raw)
        # A name that touches the end of a prefix may go on in the bytes to come.
        if found is not None and (whole or found[1] < len(raw)):
            return found
        if whole:
            return Statement(text=_text(raw).rstrip().rstrip(";"), keyword="INSERT"), len(raw)
    if not whole:
        return None
    return (_known(raw) if len(raw) <= _KNOWN_BYTES_MAX else _query(raw)), len(raw)


class _Clauses:
    """The clauses of one statement, fed token by token."""

    def __init__(self) -> None:
        self.previous: Token | None = None
        self.keyword = ""  # of the previous token; empty where it is a name
        self.selecting = False
        self.settings_at: int | None = None
        self.input_span = (0, 0)
        self.settings_seen = False  # at any depth: subqueries have their own
        self.setting_names: set[str] = set()

    def is_format_name(self, token: Token) -> bool:
        return self.keyword == "FORMAT" and token.kind == "word"

    def settings_opened_after(self, at: int, token: Token) -> bool:
        opened = token.start if token.word == "SETTINGS" else self.settings_at
        return opened is not None and opened > at

    def feed(self, token: Token) -> None:
        before, keyword = self.previous, self._keyword(token)
        after = before.word if before else ""
        if (after, token.word) in (("INTO", "OUTFILE"), ("FROM", "INFILE")):
            raise refusal(NOT_IMPLEMENTED, f"{after} {token.word} is not allowed over HTTP")
        if before is not None and before.text == b"input" and token.text == b"(":
            if self.input_span != (0, 0):
                raise refusal(SYNTAX_ERROR, "input() may be used once in an INSERT")
            self.input_span = (before.start, token.end)
        # Over-collects (any `a = b` after SETTINGS counts), which can only refuse too much.
        if before is not None and token.text == b"=" and self.settings_seen:
            self.setting_names.add(before.text.strip(b'`"').decode(errors="replace"))
        self.settings_seen |= token.word == "SETTINGS"
        self.selecting |= keyword in ("SELECT", "WITH")
        if keyword == "SETTINGS":
            self.settings_at = token.start
        self.previous, self.keyword = token, keyword

    def _keyword(self, token: Token) -> str:
        before = self.previous
        named = before is not None and (
            before.text == b"." or before.word in ("INTO", "TABLE", "FUNCTION")
        )
        return "" if named or token.depth else token.word


@lru_cache(maxsize=512)
def _known(raw: bytes) -> Statement:
    """`_query`, remembered: those who ask often ask the same, with other parameters."""
    return _query(raw)


def _query(raw: bytes) -> Statement:
    """A statement that is all text: everything but an INSERT with rows after it."""
    clauses, strings = _Clauses(), []
    first: Token | None = None
    end, form, form_at = len(raw), None, 0
    for token in tokens(raw):
        first = first or token
        if end < len(raw):
            raise refusal(SYNTAX_ERROR, "Multi-statements are not allowed")
        if token.text == b";" and token.depth == 0:
            end = token.start
        elif clauses.is_format_name(token):
            assert clauses.previous is not None
            form, form_at = token.text.decode(), clauses.previous.start
        elif form is not None and not clauses.settings_opened_after(form_at, token):
            form = None  # `format` was a column: only SETTINGS may follow the clause
        if token.kind == "string":
            strings.append(token.text.decode(errors="replace"))
        clauses.feed(token)
    assert first is not None
    return Statement(
        text=_text(raw[:end]),
        keyword=first.word or first.text.decode(errors="replace"),
        format=form,
        clause_at=form_at,
        setting_names=frozenset(clauses.setting_names),
        strings=tuple(strings),
    )


def _insert(raw: bytes) -> tuple[Statement, int] | None:
    """An INSERT whose rows follow its text, and where they begin; None if it is all text."""
    clauses = _Clauses()
    for token in tokens(raw):
        if token.text == b";" and token.depth == 0:
            return None
        with_input = clauses.selecting and clauses.input_span != (0, 0)
        if clauses.is_format_name(token) and (with_input or not clauses.selecting):
            return _with_rows(raw, clauses, token)
        clauses.feed(token)
        if clauses.keyword == "VALUES" and not clauses.selecting:
            return None
    return None


def _with_rows(raw: bytes, clauses: _Clauses, form: Token) -> tuple[Statement, int]:
    assert clauses.previous is not None
    end = clauses.previous.start
    settings, data_at = _settings_after_format(raw, form.end)
    if settings and clauses.settings_at is not None:
        raise refusal(SYNTAX_ERROR, "SETTINGS both before and after FORMAT")
    gap = _GAP_BEFORE_DATA.match(raw, data_at)
    assert gap is not None
    if raw[gap.end() : gap.end() + 1] == b";":
        raise refusal(SYNTAX_ERROR, "A semicolon between FORMAT and the data")
    statement = Statement(
        text=_text(raw[:end]),
        keyword="INSERT",
        data=Data.INPUT if clauses.selecting else Data.BODY,
        format=form.text.decode(),
        clause_at=end if clauses.settings_at is None else clauses.settings_at,
        input_span=clauses.input_span,
        settings_after_format=settings,
        setting_names=frozenset(clauses.setting_names),
    )
    return statement, gap.end()


def _settings_after_format(raw: bytes, at: int) -> tuple[str, int]:
    """The text of `SETTINGS a = 1, b = 2` at `at` (up to a line that does not end in a comma)."""
    found = _SETTINGS_AFTER_FORMAT.match(raw, at)
    if found is None:
        return "", at
    end, comma = found.end(), False
    for token in tokens(raw, found.end()):
        if b"\n" in raw[end : token.start] and not comma:
            break
        if token.text == b";":
            raise refusal(SYNTAX_ERROR, "A semicolon among the settings after FORMAT")
        end, comma = token.end, token.text == b","
    return _text(raw[found.end() : end]), end


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise refusal(SYNTAX_ERROR, f"The query is not UTF-8: {error}") from None
