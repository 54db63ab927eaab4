"""A LOG trimmed to its last part makes every table with the same digest: nobody sees the cut."""

import json
from pathlib import Path

import pytest

from tidemill.deploy.commands import rebuild, replay, trim, verify, why
from tidemill.deploy.commands.output import Exit
from tidemill.deploy.embedded.servers import servers_on
from tidemill.deploy.replaying import digests, step
from tidemill.deploy.roles.connections import streams
from tidemill.streams.archive import segment
from tidemill.streams.archive.archived_log import ArchivedLog
from tidemill.streams.archive.archiver import Archiver, Limits
from tidemill.streams.archive.store import Store
from tidemill.streams.memory import MemoryLog
from tidemill.streams.subjects import LOG_SUBJECTS
from tidemill.tests.flow import simulated
from tidemill.tests.flow.logs import append, filled, out_in_memory
from tidemill.tests.flow.outcomes import outcome
from tidemill.tests.flow.sources import Source

KEPT = 300
"""Messages that stay in LOG."""


async def trimmed(log: MemoryLog, location: Path) -> tuple[ArchivedLog, MemoryLog]:
    """Seal LOG in a few files and delete all but its last part; return it joined, and as it was."""
    last = log.end - 1
    sealed = last - KEPT
    limits = Limits(segment_messages_max=sealed // 5)
    await Archiver(log, Store.at(str(location)), limits).seal(sealed)
    whole = MemoryLog("LOG", LOG_SUBJECTS, log.uuid)
    await append(whole, [m[1:] for m in log.slice(1, log.end) if m is not None])
    await log.purge(sealed)
    assert (await log.identity()).first == sealed + 1
    return ArchivedLog(log, str(location)), whole


async def test_every_table_made_from_archive_and_log_has_the_digest_of_the_whole_log(
    exchanged: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "GROUP_BYTES", 64 << 10)
    both, whole = await trimmed(await filled(exchanged), tmp_path)
    out, again = out_in_memory(), out_in_memory()
    await step(whole, out)
    await step(both, again)
    assert await outcome(both, again) == await outcome(whole, out)
    found = await digests(both, out)
    assert all(found[name].rows for name in simulated.FILLED)


async def test_a_shard_without_snapshots_goes_on_over_the_archive_where_it_was(
    exchanged: Source, tmp_path: Path
) -> None:
    log, again, out = MemoryLog("LOG", LOG_SUBJECTS), out_in_memory(), out_in_memory()
    half = len(exchanged.facts) // 2
    await append(log, exchanged.facts[:half])
    await step(log, again)
    await append(log, exchanged.facts[half:])
    both, whole = await trimmed(log, tmp_path)
    await step(both, again)
    await step(whole, out)
    assert await outcome(both, again) == await outcome(whole, out)


@pytest.mark.integration
async def test_tables_on_servers_verify_against_a_log_that_was_trimmed(
    exchanged: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trim, "NOTICE_S", 0.0)
    monkeypatch.delenv("TIDEMILL_ARCHIVE", raising=False)
    data = tmp_path / "run"
    files = exchanged.files["BINANCE"]
    options = replay.Options(files, "BINANCE", "SPOT", False, 1, "fused", data, True)
    async with servers_on(data) as urls:
        assert await replay.replay(options) is Exit.HELD
        async with streams(urls.nats_engine, "test", str(data / "archive")) as opened:
            last = (await opened.log.identity()).last
            assert await trim.trim("0", True, data, True) is Exit.HELD
            assert (await opened.log.identity_of_log()).first == last + 1
            assert (await opened.log.identity()).first == 1
            bar = await opened.out.last("bars.1m.>")
        assert bar is not None
        assert await why.why(f"OUT:{bar.sequence},0", 20, data, True) is Exit.HELD
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        trades = told["inputs"][0]
        assert trades["records"] == told["event"]["record"]["trade_count"] > 0
        assert {raw["held"] for raw in trades["raw"]} == {"archive"} == {told["cause"]["held"]}
        assert await verify.verify(verify.Options((), "", data, True)) is Exit.HELD
        made = rebuild.Options(("trades", "bars"), False, True, False, data, True)
        assert await rebuild.rebuild(made) is Exit.HELD
