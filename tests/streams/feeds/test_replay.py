"""Captures: the same files give the same bytes, nothing is lost, and the clock is never read."""

import gzip
import os
import random
from collections import Counter
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard

from tidemill.schemas import events, kinds
from tidemill.schemas.enums import AggressorSide
from tidemill.schemas.events.feed import TradeGapDeclared
from tidemill.streams.feeds.capture import CaptureFile, Recorder, rest_message
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.replay import Counts, Replay, replay

SPOT = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / (
    "binance_captures_hftbacktest/spot"
)
MS = 1_000_000
START = 1_700_000_000_000 * MS


def files() -> list[Path]:
    paths = [SPOT / "btcusdt_20240808.gz", SPOT / "btcusdt_20240809.gz"]
    if not all(path.exists() for path in paths):
        pytest.skip(f"no captures at {SPOT}: set TIDEMILL_DATA")
    return paths


def played(paths: list[Path]) -> tuple[list[tuple[str, bytes]], Counts]:
    replaying = Replay(paths, venue_of("BINANCE", "SPOT"))
    return [message for batch in replaying.batches() for message in batch], replaying.counts


def trade(trade_id: int, at_ms: float, symbol: str = "BTCUSDT") -> tuple[int, bytes]:
    at = START + int(at_ms * MS)
    time = at // MS
    return at, orjson.dumps(
        {
            "stream": f"{symbol.lower()}@trade",
            "data": {"e": "trade", "E": time, "s": symbol, "t": trade_id, "p": "2.5", "q": "0.1"}
            | {"T": time, "m": False, "M": True},
        }
    )


def capture(path: Path, lines: list[tuple[int, bytes]]) -> Path:
    path.write_bytes(b"".join(b"%d %b\n" % line for line in lines))
    return path


def records(messages: list[tuple[str, bytes]], kind: str) -> np.ndarray:
    found = [kinds.decode(p).records for s, p in messages if s.startswith(f"md.{kind}.")]
    return np.concatenate(found)


@pytest.fixture(scope="module")
def real() -> tuple[list[tuple[str, bytes]], Counts]:
    return played(files())


def test_the_captures_trades_and_quotes_come_out_exactly(real):
    messages, counts = real
    assert (counts.trades, counts.quotes, counts.book_updates) == (19_904, 73_174, 6_495)
    assert counts.messages == 19_904 + 73_174 + 6_495 + 1
    assert counts.events == {"ClockSkew": 1, "InstrumentDefined": 1}
    assert (counts.duplicates, counts.malformed, counts.truncated_files) == (0, 0, 0)
    trades, quotes = iter(records(messages, "trade")), iter(records(messages, "quote"))
    for path in files():
        with gzip.open(path) as lines:
            for line in lines:
                time, _, raw = line.partition(b" ")
                data = orjson.loads(raw).get("data", {})
                if data.get("e") == "trade":
                    row = next(trades)
                    assert row["ts_recv"] == int(time) and row["trade_id"] == data["t"]
                    assert Decimal(int(row["price"])).scaleb(-8) == Decimal(data["p"])
                    assert Decimal(int(row["quantity"])).scaleb(-8) == Decimal(data["q"])
                    assert row["ts_event"] == data["T"] * MS
                    side = AggressorSide.SELLER if data["m"] else AggressorSide.BUYER
                    assert row["aggressor_side"] == side and row["flags"] == 0
                elif "B" in data:
                    row = next(quotes)
                    assert row["ts_recv"] == int(time) and row["update_id"] == data["u"]
                    for name, key in (("bid_price", "b"), ("bid_quantity", "B")):
                        assert Decimal(int(row[name])).scaleb(-8) == Decimal(data[key])
                    for name, key in (("ask_price", "a"), ("ask_quantity", "A")):
                        assert Decimal(int(row[name])).scaleb(-8) == Decimal(data[key])
    assert next(trades, None) is None and next(quotes, None) is None


def test_ids_are_contiguous_over_the_cut_at_midnight(real):
    ids = records(real[0], "trade")["trade_id"].astype(np.int64)
    assert (np.diff(ids) == 1).all()


def test_playing_twice_gives_the_same_bytes(real):
    assert played(files()) == real


def test_definitions_come_first_and_source_sequences_count_up(real):
    messages, _ = real
    subjects = [s for s, _ in messages if "BTCUSDT" in s]
    assert subjects[0] == "md.instrument.BINANCE.BTCUSDT.33"
    sequences = [
        events.decode(p).sequence if p.startswith(b"{") else kinds.decode(p).sequence
        for s, p in messages
        if s != "time"
    ]
    assert sequences == list(range(1, len(sequences) + 1))


def test_frames_lie_within_one_cell_of_five_milliseconds_in_order(real):
    last: Counter[str] = Counter()
    for subject, payload in real[0]:
        if subject.startswith(("md.trade.", "md.quote.")):
            frame = kinds.decode(payload)
            cells = frame.records["ts_recv"] // (5 * MS)
            assert cells[0] == cells[-1] >= last[subject]
            assert len(payload) <= 64 * 1024
            last[subject] = int(cells[-1])


def test_time_stands_every_100_ms_and_status_every_500_ms_before_what_came_later(real):
    times, statuses, now = [], [], 0
    for subject, payload in real[0]:
        if subject == "time":
            now = int(kinds.decode(payload).records[0]["ts"])
            times.append(now)
        elif subject.startswith("md.status."):
            statuses.append(kinds.decode(payload).records[0])
        elif now and not payload.startswith(b"{"):
            received = kinds.decode(payload).records["ts_recv"]
            assert (received < now + 100 * MS).all()
            # Changes of a book that waited for its snapshot come after it.
            assert (received >= now).all() or subject.startswith("md.book.")
    assert (np.diff(times) == 100 * MS).all()
    assert (np.diff([int(s["ts_recv"]) for s in statuses]) == 500 * MS).all()
    assert times[-1] <= int(records(real[0], "quote")["ts_recv"].max()), "no time is invented"


def test_a_recorder_behind_the_exchange_does_no_harm_to_venue_time(real):
    statuses = records(real[0], "status")
    venue_time = statuses["venue_time"]
    assert (np.diff(venue_time) >= 0).all()
    ahead = (venue_time - statuses["ts_recv"]) / 1e9
    assert ahead.min() > 1.0 and ahead.max() < 1.6, "the recorder's clock is 1.3 s behind"
    trades = records(real[0], "trade")
    for status in statuses[10::50]:
        later = trades[trades["ts_recv"] > status["ts_recv"]]
        late = status["venue_time"] - later["ts_event"].min() if len(later) else 0
        assert late < 1_000 * MS, "a bar would have closed before its last trade came"


@pytest.mark.parametrize("form", ["text", "gzip", "zstd"])
def test_captures_may_be_text_gzip_or_zstd(tmp_path, form):
    lines = [trade(i, i) for i in range(1, 50)]
    plain = capture(tmp_path / "a.txt", lines)
    path = tmp_path / "a.any"
    pack = {"text": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}[form]
    path.write_bytes(pack(plain.read_bytes()))
    assert played([path]) == played([plain])
    assert played([path])[1].trades == 49


def test_several_files_are_one_capture(tmp_path):
    lines = [trade(i, i * 7) for i in range(1, 200)]
    whole = capture(tmp_path / "whole", lines)
    parts = [capture(tmp_path / "1", lines[:77]), capture(tmp_path / "2", lines[77:])]
    assert played(parts) == played([whole])
    assert played([parts[0], parts[0]])[1].duplicates == 77


def test_a_hole_holds_is_declared_after_two_seconds_and_closes_before_what_waited(tmp_path):
    lines = [trade(1, 0), trade(2, 10), trade(5, 20), trade(6, 900), trade(7, 2500)]
    messages, counts = played([capture(tmp_path / "a", lines)])
    assert counts.events == {"InstrumentDefined": 1, "TradeGapDeclared": 1, "TradeGapDetected": 1}
    story = []
    for subject, payload in messages:
        if ".BTCUSDT." not in subject:
            continue
        if payload.startswith(b"{"):
            story.append(type(events.decode(payload)).__name__)
        else:
            frame = kinds.decode(payload)
            name = "hold" if frame.kind.name == "status" else "trade_id"
            story += [int(value) for value in frame.records[name]]
    assert story == [
        *("InstrumentDefined", 1, 2, 1, "TradeGapDetected"),
        *("TradeGapDeclared", 5, 6, 0, 7),
    ]
    declared = [events.decode(p) for s, p in messages if b"TradeGapDeclared" in p]
    assert isinstance(declared[0], TradeGapDeclared)
    assert (declared[0].first_id, declared[0].last_id) == (3, 4)
    assert declared[0].ts_recv - (START + 20 * MS) in range(2000 * MS, 2200 * MS)


def test_a_recorded_rest_answer_fills_the_hole(tmp_path):
    def row(i: int) -> dict[str, object]:
        time = START // MS + i
        return {"id": i, "price": "2.5", "qty": "0.1", "time": time, "isBuyerMaker": True}

    body = orjson.dumps([row(2), row(3)])
    path = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=2&limit=2"
    answer = START + 30 * MS, rest_message(path, body)
    lines = [trade(1, 0), trade(4, 20), answer, trade(5, 40)]
    messages, counts = played([capture(tmp_path / "a", lines)])
    assert list(records(messages, "trade")["trade_id"]) == [1, 2, 3, 4, 5]
    assert list(records(messages, "trade")["flags"]) == [0, 1, 1, 0, 0]
    assert counts.events["TradeGapFilled"] == 1 and "TradeGapDeclared" not in counts.events


def test_a_hole_at_the_end_is_declared_and_nothing_that_waited_is_lost(tmp_path):
    messages, counts = played([capture(tmp_path / "a", [trade(1, 0), trade(3, 5)])])
    assert list(records(messages, "trade")["trade_id"]) == [1, 3]
    assert counts.events["TradeGapDeclared"] == 1


def test_several_instruments_keep_their_own_order(tmp_path):
    rng = random.Random(5)
    lines, ids = [], Counter()
    for i in range(3000):
        symbol = rng.choice(["BTCUSDT", "ETHUSDT", "ETHBTC"])
        ids[symbol] += rng.choice([1, 1, 1, 1, 1, 1, 1, 1, 1, 2])
        lines.append(trade(ids[symbol], i * 3, symbol))
    messages, counts = played([capture(tmp_path / "a", lines)])
    assert counts.trades == 3000
    for symbol in ids:
        mine = [m for m in messages if f".{symbol}." in m[0]]
        rising = records(mine, "trade")["trade_id"].astype(np.int64)
        assert (np.diff(rising) > 0).all() and rising[-1] == ids[symbol]


def test_lines_that_are_not_understood_are_counted_and_said(tmp_path):
    path = capture(tmp_path / "a", [trade(1, 0), (START + 1, b"{oops"), trade(2, 5)])
    path.write_bytes(path.read_bytes() + b"no time at all\n\n")
    messages, counts = played([path])
    assert counts.trades == 2 and counts.malformed == 2
    given_up = [events.decode(p) for _, p in messages if b"RecordsGivenUp" in p]
    assert len(given_up) == 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_of_a_torn_file_what_is_whole_is_read_and_the_tear_is_told(tmp_path, pack):
    rng = random.Random(1)
    lines = [trade(i, i + rng.random()) for i in range(1, 5000)]
    path = tmp_path / "a"
    packed = pack(capture(tmp_path / "plain", lines).read_bytes())
    path.write_bytes(packed[: len(packed) * 2 // 3])
    _, counts = played([path])
    assert counts.truncated_files == 1 or pack is zstandard.compress
    assert counts.trades < 4999


def test_receive_times_that_step_back_do_not(tmp_path):
    lines = [trade(1, 0), trade(2, 300), trade(3, 150), trade(4, 310)]
    messages, _ = played([capture(tmp_path / "a", lines)])
    rising = records(messages, "trade")["ts_recv"]
    assert list(rising - START) == [0, 300 * MS, 300 * MS, 310 * MS]


def test_after_ten_silent_seconds_there_is_time_but_no_status(tmp_path):
    messages, _ = played([capture(tmp_path / "a", [trade(1, 0), trade(2, 60_000)])])
    assert sum(s == "time" for s, _ in messages) == 601
    assert 20 <= sum(s.startswith("md.status.") for s, _ in messages) <= 22


def test_a_very_long_silence_is_passed_in_one_step(tmp_path):
    day = 86_400_000
    messages, _ = played([capture(tmp_path / "a", [trade(1, 0), trade(2, 30 * day)])])
    assert sum(s == "time" for s, _ in messages) == 2


async def test_replay_awaits_its_sink_with_batches_and_counts(tmp_path):
    path = capture(tmp_path / "a", [trade(i, i) for i in range(1, 3000)])
    batches = []

    async def sink(batch: list[tuple[str, bytes]]) -> None:
        batches.append(batch)

    counts = await replay([path], "BINANCE", "SPOT", sink)
    assert counts.trades == 2999
    assert [m for b in batches for m in b] == played([path])[0]
    assert all(0 < len(b) <= 1000 for b in batches)


async def test_an_unknown_venue_is_refused_by_name():
    with pytest.raises(ValueError, match="NOWHERE"):
        await replay([], "NOWHERE", "SPOT", lambda batch: None)


def test_what_a_recorder_writes_is_what_is_played(tmp_path):
    lines = [trade(i, i) for i in range(1, 2000)]
    recorder = Recorder(tmp_path / "captures", "BINANCE_SPOT", rotate_s=0.5)
    for at in range(0, len(lines), 100):
        part = lines[at : at + 100]
        recorder.write([t for t, _ in part], [raw + b"\n" for _, raw in part])
    recorder.close()
    assert len(recorder.files) == 4
    again = [(t, raw.rstrip()) for f in recorder.files for t, raw in CaptureFile(f)]
    assert again == lines
    assert played(recorder.files)[1].trades == 1999


def test_a_killed_recorder_leaves_all_but_the_last_second(tmp_path):
    recorder = Recorder(tmp_path, "X")
    for i in range(1, 6000):
        at, raw = trade(i, i)
        recorder.write([at], [raw])
    left = list(CaptureFile(recorder.files[0]))
    assert len(left) >= 5000
    assert [raw.rstrip() for _, raw in left[:10]] == [trade(i, i)[1] for i in range(1, 11)]
    recorder.close()


def test_digest_of_the_real_captures_is_the_one_that_is_known(real):
    digest = sha256(b"".join(s.encode() + b"\0" + p for s, p in real[0])).hexdigest()
    assert digest == KNOWN, "the bytes of replays changed: every log made from them differs"


KNOWN = "94cb53a26de266325905af8ac4852620e1d361153c983cb7240023de8001ffd5"
