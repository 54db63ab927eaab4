"""`tidemill record` against a simulated exchange: one capture of several connections."""

from pathlib import Path

import pytest

from tidemill.deploy.commands.output import Exit
from tidemill.deploy.commands.record import Options, record
from tidemill.schemas import kinds
from tidemill.streams.feeds.capture import CaptureFile
from tidemill.streams.feeds.connections import PREFIX, turn_of
from tidemill.streams.feeds.registry import venue_of
from tidemill.streams.feeds.replay import Replay
from tidemill.tests.deploy.simulated_exchange import venue as simulated


@pytest.mark.integration
async def test_a_recording_of_two_connections_replays_as_one_without_holes(tmp_path: Path):
    async with simulated(rate=200.0) as it:
        address = it.address
        at = f"ws://{address}", f"http://{address}"
        wanted = Options(tmp_path, "BINANCE", "SPOT", ("BTCUSDT",), *at, 4.0, 2, True)
        assert await record(wanted) is Exit.HELD
        history = it.exchange.market("SPOT", "BTCUSDT").history
        known = {row[0] for row in history.trades(1, 50_000).tolist()}
    (file,) = tmp_path.iterdir()
    turns = [turn_of(raw) for _, raw in CaptureFile(file) if raw.startswith(PREFIX)]
    opened = {turn.connection for turn in turns if turn.state == "UP" and turn.socket}
    playing = Replay([file], venue_of("BINANCE", "SPOT"))
    messages = [message for batch in playing.batches() for message in batch]
    frames = [m for s, m in messages if s.startswith("md.trade.")]
    ids = [int(i) for frame in frames for i in kinds.decode(frame).records["trade_id"]]
    assert len(opened) == 2 and playing.counts.duplicates > len(ids) / 2 > 10
    assert ids == list(range(ids[0], ids[0] + len(ids))) and set(ids) <= known
    assert not [name for name in playing.counts.events if name.startswith("TradeGap")]
