"""What the faults of disks and servers found: a line for each round as JSON, and a table."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from tidemill.tests.faults.disk.small_engine import Found


@dataclass(frozen=True)
class Round:
    """One fault: what was hit, where exactly, and what the promises came to after it.

    `by_itself`: all flowed again without a restart of the server.
    """

    fault: str
    where: str
    by_itself: bool
    flows_again_s: float


@dataclass
class Report:
    """Rounds of one campaign, and what was counted at its end."""

    rounds: list[Round] = field(default_factory=list)
    found: Found | None = None

    def add(self, fault: str, where: str, by_itself: bool, flows_again_s: float) -> None:
        """Add a round."""
        self.rounds.append(Round(fault, where, by_itself, round(flows_again_s, 2)))

    def write(self, path: Path, title: str) -> None:
        """Write `path`.jsonl and `path`.md."""
        assert self.found is not None
        path.parent.mkdir(exist_ok=True)
        lines = [orjson.dumps(asdict(one)) for one in self.rounds]
        lines.append(orjson.dumps({"found": asdict(self.found)}))
        path.with_suffix(".jsonl").write_bytes(b"\n".join(lines) + b"\n")
        on = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
        path.with_suffix(".md").write_text(f"# {title}\n\n{on}\n\n{self.table()}\n")

    def table(self) -> str:
        """Return the rounds by fault as Markdown, and the count."""
        assert self.found is not None
        head = ["| fault | rounds | flows again after s (median) | most | restarts needed |"]
        head.append("|-|-:|-:|-:|-:|")
        for fault in dict.fromkeys(one.fault for one in self.rounds):
            some = [one for one in self.rounds if one.fault == fault]
            times = sorted(one.flows_again_s for one in some)
            restarts = sum(not one.by_itself for one in some)
            head.append(f"| {fault} | {len(some)} | {_median(times)} | {times[-1]} | {restarts} |")
        found = self.found
        head.append(
            f"\n{len(self.rounds)} rounds; {found.confirmed:,} confirmed messages and"
            f" {found.rows:,} rows: {found.lost} lost, {found.duplicated} duplicated;"
            f" tables that differ from LOG: {', '.join(found.unequal) or 'none'}."
        )
        return "\n".join(head)


def _median(values: Sequence[float]) -> float:
    return values[len(values) // 2]
