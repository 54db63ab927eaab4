"""A run that is damaged beyond repair comes back from its backup with the digests of all tables."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from tidemill.deploy.commands import backup as command
from tidemill.deploy.commands import verify
from tidemill.deploy.commands.output import Exit
from tidemill.deploy.embedded.servers import ServerUrls, servers_on
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.replaying import step
from tidemill.deploy.roles.connections import Streams, streams
from tidemill.deploy.settings import Missing, archive_of
from tidemill.deploy.tables import database_digests, materialise
from tidemill.projections.digest import Digest
from tidemill.projections.registry import TABLES, VERSIONS
from tidemill.projections.versions import active, begin
from tidemill.projections.versions_made import make
from tidemill.projections.versions_saved import Saved, put_back
from tidemill.schemas.errors import Regressed
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.archiver import Archiver
from tidemill.streams.archive.store import Store
from tidemill.streams.log import Log
from tidemill.tests.flow import simulated
from tidemill.tests.projections import facts
from tidemill.tests.projections.rebuilding import facts_of_market

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def no_archive_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDEMILL_ARCHIVE", raising=False)


async def grow(data: Path, urls: ServerUrls, messages: facts.Facts, seal: bool) -> None:
    """Append to a run, derive, fill its tables, and seal LOG where that is wanted."""
    async with streams(urls.nats_engine, "test", archive_of(data)) as opened:
        await facts.append(opened.log, messages)
        await step(opened.log, opened.out)
        await materialise(urls, opened.log, opened.out)
        if seal:
            archiver = Archiver(opened.log.inner, Store.at(archive_of(data)))
            await archiver.seal((await opened.log.identity()).last)


async def second_instance(urls: ServerUrls) -> None:
    """Let a second instance of a table answer, as after a rebuild."""
    async with databases(urls) as (pool, clickhouse):
        second = await begin(pool, TABLES["quotes"])
        async with pool.acquire() as connection:
            await make(connection, clickhouse, second)
        await pool.execute("UPDATE physical SET state = 'serving' WHERE t = $1", second.physical)
        await pool.execute(
            "UPDATE active SET t = $1, previous = 'quotes__v1' WHERE name = 'quotes'",
            second.physical,
        )


async def answering(urls: ServerUrls) -> dict[str, str]:
    async with databases(urls) as (pool, _):
        return {name: t.physical for name, t in (await active(pool, VERSIONS)).items()}


async def backed_up(
    data: Path, directory: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, Any]:
    capsys.readouterr()
    assert await command.backup(directory, data, True) is Exit.HELD
    told: dict[str, Any] = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    return told


async def test_a_run_that_is_damaged_comes_back_from_its_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, directory = tmp_path / "run", tmp_path / "backup"
    market = await facts_of_market(12_000)
    messages = [m[1:] for m in await (await market.read(1, [">"])).pull(100_000, 1 << 30, 1)]
    third = len(messages) // 3
    digests: dict[str, Digest] = {}
    async with servers_on(data) as urls:
        await prepare(urls)
        await second_instance(urls)
        with pytest.raises(Missing, match="holds nothing"):
            await command.backup(directory, data, True)
        await grow(data, urls, messages[:third], seal=False)
        first = await backed_up(data, directory, capsys)
        assert (first["end"], first["files"]) == (third, 2)
        await grow(data, urls, messages[third : 2 * third], seal=True)
        await grow(data, urls, messages[2 * third :], seal=False)
        told = await backed_up(data, directory, capsys)
        async with streams(urls.nats_engine, "test", archive_of(data)) as opened:
            end = (await opened.log.identity()).last
            uuid = (await opened.log.identity()).uuid
        assert (told["end"], told["log"], told["files"]) == (end, uuid, 3)
        digests, answered = await database_digests(urls, end), await answering(urls)
    assert answered["quotes"] == "quotes__v1_2"
    assert all(digests[name].rows for name in simulated.FILLED)

    damage(data)
    with pytest.raises(Missing, match="not empty"):
        await command.restore(directory, data, True)
    restored = tmp_path / "restored"
    capsys.readouterr()
    assert await command.restore(directory, restored, True) is Exit.HELD
    last_line = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert last_line == {"ok": True, "log": uuid, "end": end}
    async with servers_on(restored) as urls:
        assert await database_digests(urls, end) == digests
        assert await answering(urls) == answered
        assert await verify.verify(verify.Options((), "", restored, True)) is Exit.HELD
        async with streams(urls.nats_engine, "test", archive_of(restored)) as opened:
            await same_log(opened, messages)
        await grow(restored, urls, [facts.time(1 << 20)], seal=True)  # it goes on, archive and all


def damage(data: Path) -> None:
    """Overwrite LOG, and lose both databases."""
    blocks = sorted((data / "nats").rglob("*.blk"))
    assert blocks
    for block in blocks:
        block.write_bytes(b"\xff" * 1_000)
    for name in ("clickhouse", "postgres", "archive"):
        shutil.rmtree(data / name)


async def same_log(opened: Streams, messages: facts.Facts) -> None:
    reader = await opened.log.read(1, [">"])
    at, held = 0, list[tuple[str, bytes]]()
    while at < (await opened.log.identity()).last:
        for message in await reader.pull(1_000, 1 << 24, 5):
            assert message.sequence == at + 1
            at = message.sequence
            if not message.subject.startswith("ctl.archive."):
                held.append(message[1:])
    await reader.close()
    assert held == messages


async def test_a_backup_that_is_not_what_was_written_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "backup"
    (directory / "log").mkdir(parents=True)
    with pytest.raises(Regressed, match="no backup that was finished"):
        command.checked(directory)
    (directory / "log" / "x.parquet").write_bytes(b"whole")
    digest = command._sha256(directory / "log" / "x.parquet")
    (directory / "SHA256SUMS").write_text(f"{digest}  log/x.parquet\n")
    assert command.checked(directory) == ["x.parquet"]
    (directory / "log" / "x.parquet").write_bytes(b"whale")
    with pytest.raises(Regressed, match="not what was written"):
        command.checked(directory)
    (directory / "log" / "x.parquet").unlink()
    with pytest.raises(Regressed, match="is gone"):
        command.checked(directory)


def flipped(path: Path) -> None:
    """A disk that keeps something else than was written."""
    data = bytearray(path.read_bytes())
    data[100] ^= 1  # of the first page
    path.write_bytes(data)


async def test_what_was_copied_is_read_again_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, directory, restored = (tmp_path / name for name in ("run", "backup", "restored"))
    copy_log, copy_file = command.copy_log, command.copy_file

    async def bad_disk(log: Log, store: Store, copies: Store) -> Archive:
        made = await copy_log(log, store, copies)
        flipped(directory / "log" / made.names[0])
        return made

    def bad_file(copies: Store, store: Store, name: str) -> None:
        copy_file(copies, store, name)
        flipped(Path(store.path(name)))

    async with servers_on(data) as urls:
        await prepare(urls)
        await grow(data, urls, [facts.time(k) for k in range(200)], seal=False)
        monkeypatch.setattr(command, "copy_log", bad_disk)
        with pytest.raises(Regressed, match="ARCHIVE DAMAGED"):
            await command.backup(directory, data, True)
        with pytest.raises(Regressed, match="no backup that was finished"):
            command.checked(directory)
        monkeypatch.setattr(command, "copy_log", copy_log)
        shutil.rmtree(directory)
        assert await command.backup(directory, data, True) is Exit.HELD
    monkeypatch.setattr(command, "copy_file", bad_file)
    with pytest.raises(Regressed, match="ARCHIVE DAMAGED"):
        await command.restore(directory, restored, True)
    assert not (restored / "nats").exists()


async def test_a_table_that_this_code_does_not_declare_is_refused_before_anything(
    tmp_path: Path,
) -> None:
    row = {"t": "bars__v99", "name": "bars", "version": 99, "instance": 1}
    saved = Saved.model_validate({"physical": [{**row, "state": "serving"}], "active": []})
    async with servers_on(tmp_path / "run") as urls, databases(urls) as (pool, _):
        with pytest.raises(ValueError, match="bars__v99 is not declared"):
            await put_back(pool, saved, VERSIONS)
        assert await pool.fetchval("SELECT to_regclass('active')") is None
