"""Captures of cryptofeed become captures of ours: every message once, to the byte, in its order."""

import gzip
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from tidemill.deploy.commands import convert as command
from tidemill.deploy.commands.output import Exit
from tidemill.schemas import kinds
from tidemill.schemas.errors import Unreadable
from tidemill.streams.feeds.capture import CaptureFile
from tidemill.streams.feeds.connections import PREFIX, Turn, turn_of
from tidemill.streams.feeds.convert import Line, converted, merged
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.replay import Counts, Replay

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "captures_cryptofeed"
SPOT = b"wss://stream.binance.com:9443/stream?streams=nknusdt@depth@100ms/blzeth@aggTrade"


def lines(*raw: bytes) -> list[Line]:
    return list(converted("x.gz", raw))


def turns(converted_lines: list[Line]) -> list[Turn]:
    return [turn_of(raw) for _, raw in converted_lines if raw.startswith(PREFIX)]


def recordings() -> dict[str, list[Path]]:
    if not DATA.exists():
        pytest.skip(f"no captures at {DATA}: set TIDEMILL_DATA")
    found: dict[str, list[Path]] = {}
    for path in sorted(DATA.glob("*.gz")):
        found.setdefault(path.name.partition(".")[0], []).append(path)
    return found


def received(path: Path) -> list[tuple[int, bytes]]:
    """What a file says was received, read in another way than `convert` does."""
    found = []
    with gzip.open(path) as file:
        for line in file:
            if line.startswith(b'{"t":"recv"'):
                event = orjson.loads(line)
                found.append((round(event["ts"] * 1e6) * 1000, event["data"].encode()))
            elif re.match(rb"\d+\.\d+: ", line):
                time, _, raw = line.partition(b": ")
                found.append((round(float(time) * 1e6) * 1000, raw.rstrip(b"\n")))
    return found


def test_what_was_received_stays_as_it_was_at_its_exact_time():
    raw = b'{"stream": "x", "data": "a: b -> c"} '
    expected = [(1633998512063356900, raw), (1633998512500000000, b"pong"), (7_000000000, b"")]
    assert (
        lines(b"1633998512.0633569: " + raw + b"\n", b"1633998512.5: pong\r\n", b"7: ") == expected
    )


def test_an_answer_of_rest_says_of_which_path_it_is():
    body = b'{"lastUpdateId":1}'
    head = b"https://api.binance.com/api/v3/depth?symbol=NKNUSDT&limit=1000 -> 5.25: "
    bare = b"https://api.binance.com/api/v3/time -> 6.0: {}"
    assert lines(head + body + b"\n", bare) == [
        (
            5_250000000,
            b'{"stream":"rest:/api/v3/depth?symbol=NKNUSDT&limit=1000","data":' + body + b"}",
        ),
        (6_000000000, b'{"stream":"rest:/api/v3/time","data":{}}'),
    ]


def test_configuration_and_empty_lines_are_not_kept():
    assert lines(b'configuration: {"trades":["NKN-USDT"]}\n', b"\n") == []


def test_what_a_connection_carries_is_told_by_its_url():
    assert turns(lines(SPOT + b" <-> 1633998511.25\n")) == [
        Turn("public", 1, "UP", "recorded", ("NKNUSDT",))
    ], "aggTrade is no stream that this feed asks for"
    again = turns(lines(SPOT + b" <-> 1.0\n", SPOT + b" <-> 2.0\n"))
    assert [turn.connection for turn in again] == [1, 2]


def test_a_path_that_was_split_since_carries_the_channels_of_every_socket():
    url = (
        b"wss://fstream.binance.com/stream?streams=btcusdt@depth/ethusdt@markPrice/btcusdt@aggTrade"
    )
    assert turns(lines(url + b" <-> 1.0\n")) == [
        Turn("public", 1, "UP", "recorded", ("BTCUSDT-PERP",)),
        Turn("market", 1, "UP", "recorded", ("ETHUSDT-PERP", "BTCUSDT-PERP")),
    ]


@pytest.mark.parametrize(
    ("url", "sent", "symbols"),
    [
        ("wss://ws.okx.com:8443/ws/v5/public", '{"op":"subscribe","args":[{"channel":"books",'
         '"instId":"BTC-USDT"},{"channel":"status"}]}', ("BTC-USDT",)),
        ("wss://stream.bybit.com/v5/public/linear", '{"op":"subscribe","args":'
         '["orderbook.200.BTCUSDT","tickers.ETHUSDT"]}', ("BTCUSDT-LINEAR", "ETHUSDT-LINEAR")),
        ("wss://stream.binance.com:9443/stream", '{"method":"SUBSCRIBE","params":'
         '["btcusdt@trade"],"id":1}', ("BTCUSDT",)),
        ("wss://stream.bybit.com/realtime", '{"op":"subscribe","args":["trade.BTCUSD"]}', ()),
        ("wss://ws.okx.com:8443/ws/v5/public", "ping", ()),
        ("wss://ws.okx.com:8443/ws/v5/public", '{"op":"unsubscribe","args":[{"channel":"books",'
         '"instId":"BTC-USDT"}]}', ()),
        ("wss://dstream.binance.com/stream", '{"method":"SUBSCRIBE","params":["x@trade"]}', ()),
    ],
)  # fmt: skip
def test_what_a_connection_carries_is_told_by_what_was_sent(url, sent, symbols):
    opened, told = f"{url} <-> 1.0\n".encode(), f"{url} <- 2.0: {sent}\n".encode()
    found = lines(opened, told)
    assert [symbol for turn in turns(found) for symbol in turn.symbols] == list(symbols)
    assert len(turns(found)) == len(found) and all(at == 2_000000000 for at, _ in found)


def test_json_lines_are_the_same_events():
    events: list[dict[str, Any]] = [
        {"t": "header", "format": 2, "exchange": "BYBIT", "config": {}},
        {"t": "http", "conn": "h", "ts": 1786310817.601629, "url": "https://a.b/v5/x?&c=1",
         "data": '{"retCode":0}'},
        {"t": "connect", "conn": "w", "ts": 1.5, "addr": "wss://stream.bybit.com/v5/public/linear"},
        {"t": "send", "conn": "w", "ts": 2.0, "addr": "wss://stream.bybit.com/v5/public/linear",
         "data": '{"op":"subscribe","args":["publicTrade.BTCUSDT"]}'},
        {"t": "recv", "conn": "w", "ts": 1786310819.5264041, "data": '{"topic": "\u00e9"}'},
    ]  # fmt: skip
    http, turn, recv = lines(*(orjson.dumps(event) + b"\n" for event in events))
    assert http == (
        1786310817601629000, b'{"stream":"rest:/v5/x?&c=1","data":{"retCode":0}}'
    )  # fmt: skip
    assert turn_of(turn[1]) == Turn("public", 1, "UP", "recorded", ("BTCUSDT-LINEAR",))
    assert recv == (1786310819526404100, '{"topic": "\u00e9"}'.encode())


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"yesterday: {}\n",
        b"https://a.b/c -> later: {}\n",
        b"1.5 {}\n",
        b'{"t":"recv"}\n',
        b'{"t":"weather","ts":1.0}\n',
        b'{"t":"send","conn":"never opened","ts":1.0,"addr":"wss://x","data":""}\n',
        b"{\n",
    ],
)
def test_a_line_of_no_known_layout_is_named_and_nothing_is_guessed(line):
    with pytest.raises(Unreadable, match=r"x\.gz, line 2 "):
        lines(b"1.0: {}\n", line)


def test_files_of_one_recording_are_merged_by_receive_time():
    one = [b"1.0: a\n", b"3.0: c\n", b"3.0: d\n"]
    two = [b"2.0: b\n", b"3.0: e\n", b"4.0: f\n"]
    found = merged([("one", one), ("two", two)])
    assert b"".join(raw for _, raw in found) == b"abcdef"


def test_every_real_capture_keeps_every_message_to_the_byte():
    names = set()
    for name, paths in recordings().items():
        found = []
        for path in paths:
            with gzip.open(path) as file:
                found += list(converted(path.name, file))
        raws = [raw for _, raw in found if not raw.startswith((PREFIX, b'{"stream":"rest:'))]
        expected = [line for path in paths for line in received(path)]
        assert raws == [raw for _, raw in expected], name
        answers = sum(raw.startswith(b'{"stream":"rest:') for _, raw in found)
        asked = 0
        for path in paths:
            with gzip.open(path) as file:
                asked += sum(b" -> " in line[:300] or b'{"t":"http"' in line[:12] for line in file)
        assert answers == asked, name
        names.add(name)
    assert len(names) == 6


def test_times_of_real_captures_are_those_written():
    for paths in recordings().values():
        for path in paths:
            with gzip.open(path) as file:
                found = [
                    at
                    for at, raw in converted(path.name, file)
                    if not raw.startswith((PREFIX, b'{"stream":"rest:'))
                ]
            expected = [at for at, _ in received(path)]
            assert all(abs(a - b) <= 1000 for a, b in zip(found, expected, strict=True))


async def converted_capture(name: str, directory: Path) -> Path:
    paths = recordings()[name]
    status = await command.convert(command.Options(tuple(paths), directory, json=True))
    assert status == Exit.HELD
    return directory / f"{name}.zst"


def played(path: Path, product: str) -> tuple[Counter[str], Counts]:
    """Records by kind, of one converted capture."""
    replay = Replay([path], venue_of("BINANCE", product))
    records: Counter[str] = Counter()
    for batch in replay.batches():
        for subject, payload in batch:
            name = subject.split(".")[1] if subject.startswith("md.") else ""
            if name in ("trade", "quote", "venue_bar"):
                records[name] += len(kinds.decode(payload).records)
    return records, replay.counts


@pytest.mark.parametrize(
    ("name", "product", "instruments"),
    [("BINANCE", "SPOT", 4), ("BINANCE_FUTURES", "USDM", 4)],
)
async def test_a_converted_capture_replays_to_exactly_its_contents(
    tmp_path, name, product, instruments
):
    path = await converted_capture(name, tmp_path)
    expected: Counter[str] = Counter()
    last_ids: dict[str, int] = {}
    for source in recordings()[name]:
        for _, raw in received(source):
            data = orjson.loads(raw)["data"]
            event = data.get("e", "bookTicker")
            expected[event] += 1
            if event == "kline":
                expected["closed"] += data["k"]["x"]
            if event == "aggTrade":
                assert data["a"] == last_ids.get(data["s"], data["a"] - 1) + 1, "no gaps in it"
                last_ids[data["s"]] = data["a"]
    records, counts = played(path, product)
    assert records["trade"] == expected["aggTrade"] > 0
    assert records["quote"] == expected["bookTicker"] > 0
    assert records["venue_bar"] == expected["closed"]
    assert counts.book_updates == expected["depthUpdate"] > 0
    assert counts.ignored == expected["kline"] - expected["closed"]
    assert counts.malformed == counts.duplicates == 0
    assert counts.events.keys() == {"InstrumentDefined", "FeedConnected"}, "and no gap"
    assert len({t for line in CaptureFile(path) if line[1].startswith(PREFIX)
                for t in turn_of(line[1]).symbols}) == instruments  # fmt: skip


async def test_trades_of_a_converted_capture_are_marked_as_aggregates(tmp_path):
    path = await converted_capture("BINANCE_FUTURES", tmp_path)
    replay = Replay([path], venue_of("BINANCE", "USDM"))
    flags = set()
    for batch in replay.batches():
        for subject, payload in batch:
            if subject.startswith("md.trade."):
                flags |= set(kinds.decode(payload).records["flags"].tolist())
    assert flags == {8}


async def test_the_same_files_give_the_same_capture_to_the_byte(tmp_path):
    first = await converted_capture("BINANCE", tmp_path / "a")
    second = await converted_capture("BINANCE", tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["BINANCE.zst"]


async def test_several_recordings_become_several_captures(tmp_path):
    for name in ("ONE.0.gz", "ONE.ws.1.gz", "TWO.0.gz"):
        with gzip.open(tmp_path / name, "wb") as file:
            file.write(b"1.5: {}\n")
    files = tuple(sorted(tmp_path.glob("*.gz")))
    assert await command.convert(command.Options(files, tmp_path / "out", False)) == Exit.HELD
    found = {path.name: list(CaptureFile(path)) for path in (tmp_path / "out").iterdir()}
    line = (1_500000000, b"{}\n")
    assert found == {"ONE.zst": [line, line], "TWO.zst": [line]}


async def test_a_recording_that_cannot_be_read_leaves_nothing_half_written(tmp_path):
    (tmp_path / "X.0").write_bytes(b"1.0: {}\n" * 100 + b"nonsense\n")
    with pytest.raises(Unreadable, match=r"X\.0, line 101"):
        await command.convert(command.Options((tmp_path / "X.0",), tmp_path / "out", False))
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(FileNotFoundError, match="there is no file"):
        await command.convert(command.Options((tmp_path / "Y.0",), tmp_path / "out", False))


async def test_text_gzip_and_zstd_are_read_alike(tmp_path):
    text = b"1.0: a\n2.0: b\n"
    (tmp_path / "A.0").write_bytes(text)
    (tmp_path / "B.0").write_bytes(gzip.compress(text))
    (tmp_path / "C.0").write_bytes(zstandard.compress(text))
    files = tuple(tmp_path / name for name in ("A.0", "B.0", "C.0"))
    await command.convert(command.Options(files, tmp_path / "out", False))
    assert len({path.read_bytes() for path in (tmp_path / "out").iterdir()}) == 1
