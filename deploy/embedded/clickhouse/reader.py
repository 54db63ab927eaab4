"""What a read-only user may ask: SELECT, SHOW, DESCRIBE, EXISTS over tables, and nothing outside.

chdb has one user with every right. `readonly = 2` keeps it from writing, but would still let a
query read any file or address this process can. So before a read-only query runs, the engine's own
parser says what is in it (`EXPLAIN AST`): functions and tables that reach outside are refused.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from tidemill.deploy.embedded.clickhouse.engine import Class, Engine
from tidemill.deploy.embedded.clickhouse.refusals import ACCESS_DENIED, READONLY, refusal
from tidemill.deploy.embedded.clickhouse.statement import Statement

VERDICTS_MAX = 2048
_VERDICT_TEXT_BYTES_MAX = 16 << 10

_KEYWORDS = ("SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "(")

# Settings that change how much or in which form is read, not what. Everything else is refused:
# some settings hold expressions (`additional_table_filters`), some another language (`dialect`).
_SETTING_PREFIXES = ("max_", "output_format_", "format_csv_", "http_headers_")
_SETTINGS = frozenset(
    {
        "cancel_http_readonly_queries_on_client_close",
        "cast_string_to_dynamic_use_inference",
        "date_time_input_format",
        "date_time_output_format",
        "enable_http_compression",
        "extremes",
        "final",
        "join_algorithm",
        "join_use_nulls",
        "limit",
        "log_comment",
        "offset",
        "optimize_read_in_order",
        "read_overflow_mode",
        "result_overflow_mode",
        "send_progress_in_http_headers",
        "session_timezone",
        "timeout_overflow_mode",
    }
)

_TABLE_FUNCTIONS = frozenset(
    {"format", "generate_series", "generateseries", "null", "numbers", "numbers_mt"}
    | {"values", "view", "zeros", "zeros_mt"}
)
_FUNCTIONS = re.compile(
    r"file|ai[A-Z]\w*|AI\w*|address[Tt]o\w+|catboostEvaluate|evalMLMethod|filesystem\w*"
    r"|showCertificate|reverseDNSQuery|getServerSetting|getMergeTreeSetting",
    re.I,
)
_NODE = re.compile(r"^ *(?P<kind>\w+)(?: (?P<name>.*?))?(?: \(alias .*\))?(?: \(children \d+\))?$")


class Reader:
    """The verdicts on read-only queries, remembered by text."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        names = engine.ask("SELECT lower(name) FROM system.table_functions").split()
        self._outside = frozenset(names) - _TABLE_FUNCTIONS
        self._verdicts: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = Lock()

    def check(
        self, statement: Statement, kind: Class, settings: Iterable[str], params: dict[str, str]
    ) -> None:
        """Raises Refused (READONLY, ACCESS_DENIED) unless a read-only user may run this."""
        if kind.name != "READ_ONLY" or statement.keyword not in _KEYWORDS:
            raise refusal(READONLY, "Cannot execute query in readonly mode")
        for name in (*settings, *statement.setting_names):
            if name not in _SETTINGS and not name.startswith(_SETTING_PREFIXES):
                raise refusal(READONLY, f"Cannot modify {name!r} setting in readonly mode")
        # An identifier may be a parameter: then the verdict is on the text with its values.
        values = repr(sorted(params.items())) if "identifier" in statement.text.lower() else ""
        key = (statement.text, values)
        with self._lock:
            if key in self._verdicts:
                self._verdicts.move_to_end(key)
                return
        self._look(self._engine.ask(f"EXPLAIN AST {statement.text}", params))
        if len(statement.text) + len(values) > _VERDICT_TEXT_BYTES_MAX:
            return
        with self._lock:
            self._verdicts[key] = None
            while len(self._verdicts) > VERDICTS_MAX:
                self._verdicts.popitem(last=False)

    def _look(self, tree: str) -> None:
        for line in tree.splitlines():
            node = _NODE.match(line)
            if node is None:
                raise refusal(ACCESS_DENIED, f"Not understood, so not allowed: {line.strip()!r}")
            kind, name = node["kind"], node["name"] or ""
            if kind == "Function" and (name.lower() in self._outside or _FUNCTIONS.fullmatch(name)):
                raise refusal(ACCESS_DENIED, f"Not enough privileges for the function {name}")
            # In chdb the `default` database resolves names with a slash as files.
            if kind == "TableIdentifier" and "/" in name:
                raise refusal(ACCESS_DENIED, f"Not enough privileges for the table {name}")
            # The tree does not show what APPLY and REPLACE call.
            if kind.endswith("Transformer") and kind != "ColumnsExceptTransformer":
                raise refusal(ACCESS_DENIED, "Not enough privileges for APPLY and REPLACE")
