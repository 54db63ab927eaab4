"""The embedded Postgres: durable, an owner and a reader, and nobody's superuser."""

import os
import time
from pathlib import Path

import asyncpg
import pytest

from tidemill.tests.servers import RunningPostgres

pytestmark = pytest.mark.integration


async def test_it_is_its_own_server_with_every_commit_on_disk(postgres: RunningPostgres) -> None:
    connection = await asyncpg.connect(postgres.dsn)
    assert await connection.fetchval("SHOW fsync") == "on"
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    assert await connection.fetchval("SHOW full_page_writes") == "on"
    assert await connection.fetchval("SHOW data_checksums") == "on"
    assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
    assert await connection.fetchval("SELECT inet_server_port()") == postgres.server.port
    pid_file = (postgres.server.data / "postmaster.pid").read_text()
    assert int(pid_file.split()[0]) == postgres.pid
    await connection.close()


async def test_what_was_committed_survives_kill_9(postgres: RunningPostgres) -> None:
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    connection.terminate()
    for _ in range(2):
        postgres.kill()
        await postgres.restart()
        connection = await asyncpg.connect(postgres.dsn)
        assert await connection.fetchval("SELECT sum(n) FROM kept") == 500_500
        await connection.close()


async def test_the_reader_selects_in_every_schema_and_writes_in_none(
    postgres: RunningPostgres,
) -> None:
    owner = await asyncpg.connect(postgres.dsn)
    await owner.execute("CREATE TABLE public.seen (n int); INSERT INTO seen VALUES (7)")
    await owner.execute("CREATE SCHEMA later; CREATE TABLE later.seen AS SELECT 8 AS n")
    reader = await asyncpg.connect(postgres.reader_dsn)
    assert await reader.fetchval("SELECT n FROM public.seen") == 7
    assert await reader.fetchval("SELECT n FROM later.seen") == 8
    await reader.execute("SET default_transaction_read_only = off")
    for statement in (
        "INSERT INTO seen VALUES (1)",
        "UPDATE seen SET n = 1",
        "DELETE FROM later.seen",
        "TRUNCATE seen",
        "DROP TABLE seen",
        "CREATE TABLE mine (n int)",
        "CREATE TEMP TABLE mine (n int)",
        "SET ROLE tidemill",
        "SELECT pg_read_file('/etc/hostname')",
        "COPY seen TO PROGRAM 'cat'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(statement)
    await reader.close()
    await owner.close()


async def test_nobody_enters_as_superuser_or_without_the_password(
    postgres: RunningPostgres,
) -> None:
    for user, password in (("postgres", ""), ("postgres", "postgres"), ("tidemill", "wrong")):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.dsn, user=user, password=password)
    owner = await asyncpg.connect(postgres.dsn)
    assert await owner.fetchval("SHOW is_superuser") == "off"
    await owner.close()


async def test_it_never_runs_as_root(postgres: RunningPostgres) -> None:
    status = Path(f"/proc/{postgres.pid}/status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert "0" not in fields["Uid"].split()
    if os.geteuid() == 0:
        # At most the right to search directories, and only because the test's are closed.
        search = {f"{1 << 2:016x}", f"{1 << 1:016x}", "0" * 16}
        assert fields["CapEff"] in search
        assert fields["CapPrm"] == fields["CapEff"]


async def test_a_pid_file_of_a_dead_postmaster_that_names_another_process_is_no_hindrance(
    postgres: RunningPostgres,
) -> None:
    lock = postgres.server.data / "postmaster.pid"
    postgres.kill()
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    await postgres.restart()
    assert int(lock.read_text().split()[0]) == postgres.pid


async def test_half_a_data_directory_is_made_again(postgres: RunningPostgres) -> None:
    await postgres.stop()
    postgres.server.data.rename(postgres.server.directory / "new")
    (postgres.server.directory / "new" / "pg_hba.conf").unlink()
    await postgres.restart()
    connection = await asyncpg.connect(postgres.dsn)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_it_stops_at_once_although_clients_stay(postgres: RunningPostgres) -> None:
    connection = await asyncpg.connect(postgres.dsn)
    started_s = time.monotonic()
    await postgres.stop()
    assert time.monotonic() - started_s < 9
    connection.terminate()
