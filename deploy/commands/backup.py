"""`tidemill backup` and `tidemill restore`: LOG as files, and the ledger of versions; no more.

Everything else is made again: tables by `rebuild`, what is derived by the graph, secrets anew.

    DIR/log/<r0>-<r1>.parquet   all of LOG: its sealed files, then what was not sealed yet
    DIR/versions.json           which physical table answers which name
    DIR/SHA256SUMS              written last: a backup without it is none
"""

import asyncio
import contextlib
import hashlib
import os
import sys
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer, say
from tidemill.deploy.commands.rebuild import Options as RebuildOptions
from tidemill.deploy.commands.rebuild import rebuild
from tidemill.deploy.commands.repair import LOG, refeed
from tidemill.deploy.embedded.servers import ServerUrls, servers_on
from tidemill.deploy.prepared import databases, prepare
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import Missing, archive_of
from tidemill.projections.registry import VERSIONS
from tidemill.projections.versions_saved import Saved, put_back, save
from tidemill.schemas.errors import Regressed
from tidemill.streams.archive.archive import Archive
from tidemill.streams.archive.copied import copy_file, copy_log
from tidemill.streams.archive.repair import check, plan
from tidemill.streams.archive.store import Store
from tidemill.streams.durable import sync
from tidemill.streams.jetstream_connection import connect

SUMS, VERSIONS_FILE, FILES = "SHA256SUMS", "versions.json", "log"
READ_BYTES = 4 << 20


async def backup(directory: Path, data_dir: Path, json: bool) -> Exit:
    """Write all of LOG as it is now, and the ledger of versions, to `directory`.

    The run may go on meanwhile. An earlier backup there is brought up to date; it is none until
    that has ended. Raises Missing where LOG is empty, Regressed where LOG and archive differ.
    """
    location = archive_of(data_dir)
    async with (
        servers_on(data_dir) as urls,
        streams(urls.nats_engine, "backup", location) as opened,
        databases(urls) as (pool, _),
    ):
        if not (await opened.log.identity()).last:
            raise Missing(f"LOG of {data_dir} holds nothing yet")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / SUMS).unlink(missing_ok=True)
        sync(directory)
        store = await asyncio.to_thread(Store.at, location)
        copies = await asyncio.to_thread(Store.at, str(directory / FILES))
        saved = await save(pool)
        copied = await copy_log(opened.log.inner, store, copies)
    say(f"{len(copied.names)} files up to {copied.end}; reading them again ...")
    await check(copied)
    _write(directory / VERSIONS_FILE, saved.model_dump_json(indent=1) + "\n")
    names = [*(f"{FILES}/{name}" for name in copied.names), VERSIONS_FILE]
    sums = await asyncio.to_thread(lambda: {name: _sha256(directory / name) for name in names})
    _write(directory / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    size = sum((directory / name).stat().st_size for name in names)
    answer(
        {"ok": True, "log": copied.log, "end": copied.end, "files": len(names), "bytes": size}, json
    )
    return Exit.HELD


async def restore(directory: Path, data_dir: Path, json: bool) -> Exit:
    """Make a run on an empty `data_dir` from a backup: LOG with its sequences, then every table.

    Raises Regressed where the backup is not what was written, Missing where `data_dir` holds a run.
    """
    names = await asyncio.to_thread(checked, directory)
    if data_dir.exists() and any(data_dir.iterdir()):
        raise Missing(f"{data_dir} is not empty: restore into another --data-dir")
    saved = Saved.model_validate_json((directory / VERSIONS_FILE).read_bytes())
    copies = await asyncio.to_thread(Store.at, str(directory / FILES))
    store = await asyncio.to_thread(Store.at, archive_of(data_dir))
    if await asyncio.to_thread(store.names):
        raise Missing(f"{archive_of(data_dir)} is not empty: set TIDEMILL_ARCHIVE to another place")
    for name in names:
        await asyncio.to_thread(copy_file, copies, store, name)
    archive = await asyncio.to_thread(Archive.unattested, store)
    say("reading the whole archive ...")
    await check(archive)
    async with servers_on(data_dir) as urls:
        await _restore_log(urls, archive)
        async with databases(urls) as (pool, _):
            await put_back(pool, saved, VERSIONS)
        await prepare(urls)
        with contextlib.redirect_stdout(sys.stderr):
            done = await rebuild(RebuildOptions((), True, False, False, data_dir, json))
    answer({"ok": done is Exit.HELD, "log": archive.log, "end": archive.end}, json)
    return done


async def _restore_log(urls: ServerUrls, archive: Archive) -> None:
    connection = await connect(urls.nats_admin, name="restore")
    try:
        await refeed(connection, LOG, archive, await plan(archive, None))
    finally:
        await connection.close()


def checked(directory: Path) -> list[str]:
    """Return the names of a backup's files of LOG. Raises Regressed unless all is as written."""
    sums = directory / SUMS
    if not sums.exists():
        raise Regressed(f"{directory} is no backup that was finished: it has no {SUMS}")
    names = []
    for line in sums.read_text().splitlines():
        digest, _, name = line.partition("  ")
        path = directory / name
        if not path.is_file():
            raise Regressed(f"BACKUP DAMAGED: {path} is gone")
        if _sha256(path) != digest:
            raise Regressed(f"BACKUP DAMAGED: {path} is not what was written")
        if name.startswith(f"{FILES}/"):
            names.append(name.removeprefix(f"{FILES}/"))
    return names


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    """Write a file whole and durable, or not at all."""
    unfinished = path.with_suffix(".writing")
    with unfinished.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync(path.parent)
