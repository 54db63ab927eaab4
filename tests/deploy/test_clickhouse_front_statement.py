"""Where a statement ends and its data begins."""

import pytest

from tidemill.deploy.embedded.clickhouse.refusals import Refused, engine_refusal
from tidemill.deploy.embedded.clickhouse.statement import Data, Statement, cut


def whole(raw: bytes) -> tuple[Statement, bytes]:
    found = cut(raw, whole=True)
    assert found is not None
    return found[0], raw[found[1] :]


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"1,2\n"),
        (b"insert into t format CSV\r\n1,2", b"1,2"),
        (b"INSERT INTO t FORMAT JSONEachRow {}", b"{}"),
        (b"INSERT INTO t FORMAT CSV \t\n\n1", b"\n1"),
        (b"INSERT INTO t FORMAT CSV", b""),
        (b'INSERT INTO t (`a)`, "FORMAT x") FORMAT Native\n\x00;\'\xff', b"\x00;'\xff"),
        (b"INSERT INTO t /* FORMAT CSV\n */ -- FORMAT CSV\n FORMAT TSV\n1", b"1"),
        (b"INSERT INTO format FORMAT CSV\n1", b"1"),
        (b"INSERT INTO db.values (a) FORMAT CSV\n1", b"1"),
        (b"INSERT INTO t SETTINGS a = 'FORMAT CSV' FORMAT CSV\n1", b"1"),
        (b"INSERT INTO t FORMAT CSV SETTINGS a = 1\n1", b"1"),
        (b"INSERT INTO t FORMAT CSV\nSETTINGS a = 1,\n b = '\n'\nSETTINGS", b"SETTINGS"),
        (b"INSERT INTO t FORMAT CSV\nSETTINGS,1", b"SETTINGS,1"),
    ],
)
def test_the_data_begins_after_the_format(raw: bytes, data: bytes) -> None:
    statement, rest = whole(raw)
    assert (statement.data, rest) == (Data.BODY, data)
    assert cut(raw + b"\nmore", whole=False) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"INSERT INTO t VALUES (1, 'FORMAT CSV')",
        b"INSERT INTO t SELECT format FROM u",
        b"INSERT INTO t SELECT * FROM u FORMAT Null",
        b"SELECT 'FORMAT CSV'",
    ],
)
def test_what_has_no_data_is_all_text(raw: bytes) -> None:
    statement, rest = whole(raw)
    assert (statement.data, rest) == (Data.NONE, b"")


@pytest.mark.parametrize(
    "raw", [b"", b"INSERT INTO t FORM", b"INSERT INTO t FORMAT Nat", b"SELECT 1", b"-- x"]
)
def test_a_prefix_is_not_decided_too_early(raw: bytes) -> None:
    assert cut(raw, whole=False) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("SELECT 1", "SELECT 1\nINTO OUTFILE 'P' APPEND FORMAT TSV"),
        ("SELECT 1 -- x", "SELECT 1 -- x\nINTO OUTFILE 'P' APPEND FORMAT TSV"),
        ("SELECT 1 FORMAT CSV;", "SELECT 1  INTO OUTFILE 'P' APPEND FORMAT CSV"),
        (
            "SELECT format FROM t format CSV SETTINGS a=1",
            "SELECT format FROM t  INTO OUTFILE 'P' APPEND format CSV SETTINGS a=1",
        ),
        ("SELECT format FROM t", "SELECT format FROM t\nINTO OUTFILE 'P' APPEND FORMAT TSV"),
        (
            "SELECT (SELECT 1 FORMAT x) SETTINGS b = 2",
            "SELECT (SELECT 1 FORMAT x) SETTINGS b = 2\nINTO OUTFILE 'P' APPEND FORMAT TSV",
        ),
    ],
)
def test_a_result_goes_to_a_file_in_the_querys_own_format(raw: str, expected: str) -> None:
    assert whole(raw.encode())[0].into_outfile("P", "TSV") == expected


def test_rows_come_from_a_file_and_input_becomes_it() -> None:
    plain, _ = whole(b"INSERT INTO t (a) SETTINGS b = 1 FORMAT CSV\n1")
    assert plain.from_file("P") == "INSERT INTO t (a)  FROM INFILE 'P' SETTINGS b = 1  FORMAT CSV"
    fenced, rest = whole(
        b"INSERT INTO t SELECT * FROM input('a String, b String') WHERE throwIf(x) = 0"
        b" FORMAT Native SETTINGS c = 1, d = 'e, f'\n\x01"
    )
    assert (fenced.data, rest) == (Data.INPUT, b"\x01")
    assert fenced.settings_after_format == "c = 1, d = 'e, f'"
    assert fenced.from_file("P") == (
        "INSERT INTO t SELECT * FROM file('P', 'Native', 'a String, b String')"
        " WHERE throwIf(x) = 0 "
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" -- nothing\n",
        b"SELECT 1; SELECT 2",
        b"SELECT 1 INTO OUTFILE 'x'",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"INSERT INTO t SELECT * FROM input('a'), input('b') FORMAT CSV\n",
        b"INSERT INTO t SETTINGS a = 1 FORMAT CSV SETTINGS b = 1\n",
        b"INSERT INTO t FORMAT CSV SETTINGS a = 1; DROP TABLE t\n",
        b"INSERT INTO t FORMAT CSV;\n1",
        b"SELECT '\xff'",
    ],
)
def test_what_is_ambiguous_or_dangerous_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        cut(raw, whole=True)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT a = 1", set()),
        ("SELECT 1 SETTINGS x = 1, `y` = 2", {"x", "y"}),
        ("SELECT * FROM (SELECT 1 SETTINGS z = 1) WHERE a = 1", {"z", "a"}),
    ],
)
def test_no_setting_of_a_query_is_missed(query: str, names: set[str]) -> None:
    assert whole(query.encode())[0].setting_names == names


def test_the_engines_errors_are_told_once_with_their_code() -> None:
    thrice = "Code: 107. DB::Exception: " * 2 + "Code: 107. DB::ErrnoException: Cannot open."
    thrice += " (FILE_DOESNT_EXIST)" + " (version 26.9.2.1). (FILE_DOESNT_EXIST)" * 2
    assert engine_refusal(RuntimeError(thrice)).message == (
        "Code: 107. DB::ErrnoException: Cannot open. (FILE_DOESNT_EXIST)"
    )
    wrapped = RuntimeError(
        "Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown setting 'foo'."
        " (UNKNOWN_SETTING) (version 26.9.2.1). (UNKNOWN_SETTING)"
    )
    refused = engine_refusal(wrapped)
    assert (refused.code, refused.status) == (115, 404)
    assert refused.body("1.2") == (
        b"Code: 115. DB::Exception: Unknown setting 'foo'. (UNKNOWN_SETTING) (version 1.2)\n"
    )
    assert engine_refusal(RuntimeError("no code at all")).code == 1001
