"""The embedded servers together: one directory, found again, killed, restarted, never left."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import clickhouse_connect
import nats
import pytest
import redis.asyncio

from tidemill.deploy.embedded.addresses import Ports
from tidemill.deploy.embedded.ports import free_port
from tidemill.deploy.embedded.servers import EmbeddedServers, ServerUrls, servers_on
from tidemill.deploy.supervisor import leftovers
from tidemill.deploy.supervisor.account import account_for
from tidemill.deploy.supervisor.child import Child, State, Status
from tidemill.deploy.supervisor.lock import AlreadyRunning
from tidemill.deploy.supervisor.running import command

pytestmark = pytest.mark.integration

NAMES = ("nats", "postgres", "valkey", "clickhouse")

PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from tidemill.deploy.embedded.servers import EmbeddedServers

async def main():
    async with EmbeddedServers(Path(sys.argv[1]), signals=True) as servers:
        print(servers.urls.model_dump_json(), flush=True)
        await servers.supervisor.wait()
    print("stopped by", servers.supervisor.signalled.name, flush=True)

asyncio.run(main())
"""


async def write_something(urls: ServerUrls) -> None:
    client = await nats.connect(urls.nats_admin)
    await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
    await client.jetstream().publish("kept.one", b"fact")
    await client.close()
    connection = await asyncpg.connect(urls.postgres)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    await connection.close()
    analyst = clickhouse_connect.get_client(dsn=urls.clickhouse)
    analyst.command("CREATE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n")
    analyst.insert("kept", [[43]], column_names=["n"])
    analyst.close()


async def read_it_again(urls: ServerUrls) -> None:
    client = await nats.connect(urls.nats_admin)
    assert client._server_info["server_name"] == urls.nats_name
    assert (await client.jetstream().get_msg("KEPT", seq=1)).data == b"fact"
    await client.close()
    connection = await asyncpg.connect(urls.postgres_reader)
    assert await connection.fetchval("SELECT n FROM kept") == 42
    await connection.close()
    analyst = clickhouse_connect.get_client(dsn=urls.clickhouse_reader)
    assert analyst.query("SELECT n FROM kept").result_rows == [(43,)]
    analyst.close()
    async with redis.asyncio.Redis.from_url(urls.valkey) as cache:
        assert await cache.ping()


async def test_all_start_their_data_survive_and_nothing_is_left(tmp_path: Path) -> None:
    async with EmbeddedServers(tmp_path) as servers:
        assert tuple(s.name for s in servers.supervisor.status()) == NAMES
        await write_something(servers.urls)
        urls = servers.urls
    assert processes_of(tmp_path) == []
    async with EmbeddedServers(tmp_path) as servers:
        assert servers.urls == urls  # the same ports, passwords and names
        await read_it_again(servers.urls)
    assert processes_of(tmp_path) == []


async def test_each_server_killed_comes_back_alone_on_the_same_urls(tmp_path: Path) -> None:
    ready: list[str] = []

    async def note(status: Status) -> None:
        if status.state is State.READY:
            ready.append(status.name)

    async with EmbeddedServers(tmp_path, on_event=note) as servers:
        await write_something(servers.urls)
        for name in NAMES:
            before = {each: servers.supervisor.pid_of(each) for each in NAMES}
            os.kill(before[name], signal.SIGKILL)
            async with asyncio.timeout(15):
                while ready.count(name) < 2:
                    await asyncio.sleep(0.01)
            after = {each: servers.supervisor.pid_of(each) for each in NAMES}
            assert {each for each in NAMES if before[each] != after[each]} == {name}
            await read_it_again(servers.urls)
        assert [status.restarts for status in servers.supervisor.status()] == [1] * 4


async def test_a_second_start_is_refused_and_a_command_uses_those_that_run(
    tmp_path: Path,
) -> None:
    async with EmbeddedServers(tmp_path) as servers:
        with pytest.raises(AlreadyRunning, match=f"in use by process {os.getpid()}"):
            await EmbeddedServers(tmp_path).__aenter__()
        async with servers_on(tmp_path) as urls:
            assert urls == servers.urls
        assert all(status.state is State.READY for status in servers.supervisor.status())
    async with servers_on(tmp_path) as urls:  # nobody runs them now: its own, for the block
        assert urls == servers.urls
        assert processes_of(tmp_path) != []
    assert processes_of(tmp_path) == []


async def test_two_commands_at_once_on_a_fresh_directory_share_one_set(tmp_path: Path) -> None:
    async def command_with_servers() -> ServerUrls:
        async with servers_on(tmp_path) as urls:
            both_up.append(urls)
            async with asyncio.timeout(30):
                while len(both_up) < 2:
                    await asyncio.sleep(0.01)
            return urls

    both_up: list[ServerUrls] = []
    first, second = await asyncio.gather(command_with_servers(), command_with_servers())
    assert first == second


def test_kill_9_of_the_supervisor_leaves_no_server_and_a_new_start_has_the_data(
    tmp_path: Path,
) -> None:
    process, urls = start_program(tmp_path)
    asyncio.run(write_something(urls))
    assert len(processes_of(tmp_path)) > len(NAMES)  # Postgres' own processes are among them
    process.kill()
    process.wait()
    asyncio.run(until_nothing_is_left(tmp_path))
    again, urls_again = start_program(tmp_path)
    assert urls_again == urls
    asyncio.run(read_it_again(urls_again))
    finish(again)
    assert process.stdout is not None
    process.stdout.close()


def test_sigterm_stops_every_server_in_good_order(tmp_path: Path) -> None:
    process, _ = start_program(tmp_path)
    assert finish(process) == "stopped by SIGTERM\n"
    assert processes_of(tmp_path) == []
    assert "database system is shut down" in (tmp_path / "logs/postgres.log").read_text()
    assert "Server Exiting" in (tmp_path / "logs/nats.log").read_text()
    assert not (tmp_path / "postgres/data/postmaster.pid").exists()


def test_sigterm_while_they_start_leaves_nothing_either(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    while not (tmp_path / "run" / "nats.pid").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=15)
    assert output == "" and process.returncode != 0
    assert processes_of(tmp_path) == []


async def test_a_configured_port_is_kept_or_refused_a_remembered_one_is_replaced(
    tmp_path: Path,
) -> None:
    wanted = free_port()
    async with EmbeddedServers(tmp_path, Ports(nats=wanted)) as servers:
        assert servers.urls.nats_admin.endswith(f":{wanted}")
        await write_something(servers.urls)
    with socket.create_server(("127.0.0.1", wanted)):
        with pytest.raises(OSError, match=f"port {wanted}, configured for nats, is taken"):
            await EmbeddedServers(tmp_path, Ports(nats=wanted)).__aenter__()
        async with EmbeddedServers(tmp_path) as servers:
            assert not servers.urls.nats_admin.endswith(f":{wanted}")
            await read_it_again(servers.urls)


async def test_secrets_are_private_and_nowhere_else(tmp_path: Path) -> None:
    async with EmbeddedServers(tmp_path):
        secrets = list((tmp_path / "secrets").iterdir())
        assert len(secrets) == 9
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in secrets)
        assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
        open_text = [(tmp_path / "servers.json").read_text()]
        open_text += [path.read_text() for path in (tmp_path / "logs").iterdir()]
        open_text += [path.read_text() for path in (tmp_path / "run").iterdir()]
        open_text += [command_line(pid) for pid in processes_of(tmp_path)]
        for path in secrets:
            assert not any(path.read_text() in text for text in open_text), path.name


async def test_lost_passwords_of_a_database_are_named_not_replaced(tmp_path: Path) -> None:
    async with EmbeddedServers(tmp_path):
        pass
    (tmp_path / "secrets" / "postgres-owner").unlink()
    with pytest.raises(FileNotFoundError, match=r"postgres-owner is lost"):
        await EmbeddedServers(tmp_path).__aenter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here already runs as such a user")
def test_an_ordinary_user_runs_them_too(tmp_path: Path) -> None:
    # The right to search directories stays where this Python is closed to others (under /root).
    account = account_for(Path(sys.executable), Path(sys.prefix), tmp_path)
    assert account is not None
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    child = Child("user", (sys.executable, "-c", PROGRAM, str(home / "data")), account=account)
    process, urls = start_program(home / "data", command(child, os.getpid()), home)
    asyncio.run(write_something(urls))
    asyncio.run(read_it_again(urls))
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_of(home / "data")}
    assert owners == {account.uid}
    assert finish(process) == "stopped by SIGTERM\n"


def start_program(
    data_dir: Path, argv: tuple[str, ...] = (), home: Path | None = None
) -> tuple[subprocess.Popen[str], ServerUrls]:
    process = subprocess.Popen(
        argv or (sys.executable, "-c", PROGRAM, str(data_dir)),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **({"HOME": str(home)} if home else {})},
        cwd=home,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended before its servers were up"
    return process, ServerUrls(**json.loads(line))


def finish(process: subprocess.Popen[str]) -> str:
    """Ask it to stop; what it printed last."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return output


def processes_of(data_dir: Path) -> list[int]:
    """Every live process, but us and the program, that works in this directory."""
    return [
        process.pid
        for process in leftovers.processes()
        if process.pid != os.getpid()
        and "EmbeddedServers" not in command_line(process.pid)
        and works_in(process.pid, data_dir)
    ]


def works_in(pid: int, data_dir: Path) -> bool:
    try:
        here = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    return here.is_relative_to(data_dir) or str(data_dir) in command_line(pid)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


async def until_nothing_is_left(data_dir: Path) -> None:
    async with asyncio.timeout(5):
        while processes_of(data_dir):
            await asyncio.sleep(0.02)
