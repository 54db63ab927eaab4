"""scan: records as Arrow, the same from the archive, from the log and from both."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.servers import RunningNats
from tidemill.deploy.load import Load
from tidemill.schemas import examples, frame, kinds, rows
from tidemill.schemas.errors import Unavailable
from tidemill.schemas.kinds import KINDS
from tidemill.schemas.kinds.trade import TRADE
from tidemill.streams import declarations, scan
from tidemill.streams.archive import segment
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.store import Store
from tidemill.streams.jetstream import JetStreamLog
from tidemill.streams.jetstream_connection import connect
from tidemill.streams.log import Log
from tidemill.streams.memory import MemoryLog
from tidemill.streams.migrator import migrate
from tidemill.streams.subjects import md
from tidemill.tests.streams.archive import logs

BTC = "BTCUSDT.LOAD"
FACTS_KINDS = [k for k in KINDS if "at_r" not in (KINDS[k].dtype.names or ())]


async def loaded(log: Log, trades: int = 20_000) -> list[tuple[str, bytes]]:
    """Append trades of three instruments, definitions and time; return what was appended."""
    load = Load(3, 1_000_000, per_frame=500)
    made = [*load.opening(), *(m for batch in load.facts(trades) for m in batch)]
    await logs.append(log, made)
    return made


def expected(made: list[tuple[str, bytes]], r0: int, r1: int, symbol: str = "") -> list[tuple]:
    found = []
    for r, (subject, payload) in enumerate(made, 1):
        if r0 <= r <= r1 and subject.startswith(f"md.trade.LOAD.{symbol}"):
            for i, row in enumerate(rows.readable(kinds.decode(payload))):
                price, quantity = Decimal(row["price"]), Decimal(row["quantity"])
                name = subject.split(".")[3]
                found.append((r, i, name, row["trade_id"], price, quantity, row["aggressor_side"]))
    return found


def plain(table: pa.Table) -> list[tuple]:
    names = ("r", "i", "symbol", "trade_id", "price", "quantity", "aggressor_side")
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


@pytest.fixture
async def archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """What the archive in `tmp_path` was made of."""
    monkeypatch.setattr(segment, "GROUP_BYTES", 100_000)
    log = MemoryLog("LOG", declarations.LOG_SUBJECTS)
    made = await loaded(log)
    limits = Limits(segment_messages_max=20)
    await Archiver(log, Store.at(str(tmp_path)), limits).seal(len(made))
    return made


async def test_the_archive_alone_gives_every_record(
    archived: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    table = scan("trade", archive=tmp_path)
    assert table.num_rows >= 20_000
    assert plain(table) == expected(archived, 1, len(archived))
    assert table.schema.field("price").type == pa.decimal128(38, 18)
    assert set(table.column("venue").to_pylist()) == {"LOAD"}
    assert scan("quote", archive=tmp_path).num_rows == 0
    assert scan("time", archive=tmp_path).column("ts")[0].value == Load(1, 1).ts


@pytest.mark.parametrize(("r0", "r1"), [(1, 1), (7, 7), (7, 23), (20, 21), (30, 10_000), (9, 5)])
async def test_a_range_and_instruments_are_picked(
    archived: list[tuple[str, bytes]], tmp_path: Path, r0: int, r1: int
) -> None:
    table = scan("trade", [BTC], r0, r1, archive=tmp_path)
    assert plain(table) == expected(archived, r0, r1, "BTCUSDT")
    both = scan("trade", [BTC, "ETHUSDT.LOAD"], r0, r1, archive=tmp_path)
    assert set(both.column("symbol").to_pylist()) <= {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("name", FACTS_KINDS)
async def test_every_kind_of_fact_has_its_columns(tmp_path: Path, name: str) -> None:
    kind, log = KINDS[name], MemoryLog("LOG", declarations.LOG_SUBJECTS)
    subject = "time" if name == "time" else md(name, "BINANCE", "BTCUSDT", 33)
    await log.append([(subject, examples.encoded(name)), (subject, b"no frame")], None)
    await Archiver(log, Store.at(str(tmp_path))).seal(2)
    table = scan(name, archive=tmp_path)
    readable = rows.readable(examples.decoded(name))
    assert table.num_rows == len(readable)
    for field in kind.fields:
        for found, told in zip(table.column(field.name), readable, strict=True):
            value = told[field.name]
            if field.unit in ("price", "quantity", "notional"):
                assert found.as_py() == Decimal(value)
            elif field.unit == "ns":
                assert (found.value if found.is_valid else None) == value
            elif not isinstance(value, list):  # flags stay numbers
                assert str(found.as_py()) == str(value)


async def test_frames_of_different_exponents_stand_in_one_exact_column(tmp_path: Path) -> None:
    log = MemoryLog("LOG", declarations.LOG_SUBJECTS)
    records = TRADE.empty(2)
    records["price"], records["quantity"] = [1, -(2**63)], [7, 2**63 - 1]
    for sequence, exponents in enumerate(((-8, -8), (0, -18), (-2, 0))):
        payload = frame.encode(TRADE, records, sequence, *exponents)
        await log.append([(md("trade", "BINANCE", "BTCUSDT", 33), payload)], None)
    await Archiver(log, Store.at(str(tmp_path))).seal(3)
    table = scan("trade", archive=tmp_path)
    prices = [Decimal(m).scaleb(e) for e in (-8, 0, -2) for m in (1, -(2**63))]
    assert table.column("price").to_pylist() == prices
    assert table.column("quantity").to_pylist()[2] == Decimal(7).scaleb(-18)
    assert np.all(table.column("i").to_numpy() == [0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("kind", "instruments", "places", "why"),
    [
        ("bar", None, {"archive": "x"}, "LOG holds no 'bar'"),
        ("nothing", None, {"archive": "x"}, "it holds trade, quote"),
        ("trade", None, {}, "say where"),
        ("trade", ["BTCUSDT"], {"archive": "x"}, "is not SYMBOL.VENUE"),
    ],
)
def test_what_cannot_be_scanned_is_named(
    kind: str, instruments: list[str] | None, places: dict[str, str], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        scan(kind, instruments, **places)


def test_an_archive_that_is_not_there_or_is_empty_is_said_and_never_made(tmp_path: Path) -> None:
    slip = tmp_path / "archvie"
    with pytest.raises(Unavailable, match="archvie"):
        scan("trade", archive=slip)
    with pytest.raises(Unavailable, match="archvie"):
        scan("trade", archive=slip, nats="nats://127.0.0.1:1")
    assert not slip.exists()
    slip.mkdir()
    with pytest.raises(Unavailable, match=r"nothing sealed yet: nats=\.\.\. reads what LOG holds"):
        scan("trade", archive=slip)


@pytest.mark.integration
async def test_archive_and_log_are_one_also_within_a_running_loop(
    nats: RunningNats, tmp_path: Path
) -> None:
    connection = await connect(nats.url)
    await migrate(connection, declarations.streams(), apply=True)
    log = await JetStreamLog.open(connection, "LOG")
    made = await loaded(log)
    whole = scan("trade", nats=nats.url)
    assert plain(whole) == expected(made, 1, len(made))
    half = len(made) // 2
    location = str(tmp_path / "archive")
    await Archiver(log, Store.at(location)).seal(half)
    await log.purge(half - 5)
    for r0, r1 in ((1, None), (half - 3, half + 9), (3, 12), (half + 2, half + 2)):
        found = scan("trade", [BTC], r0, r1, archive=location, nats=nats.urls["engine"])
        assert plain(found) == expected(made, r0, r1 or len(made), "BTCUSDT")
    await connection.close()
