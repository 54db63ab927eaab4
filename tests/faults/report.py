"""What a campaign found: a line for each kill, in a file and as a table for people."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson


@dataclass(frozen=True)
class Line:
    """`victim` was killed -9 at `where`; `recovered_s` later all flowed again, end to end.

    `inside`: it is proven that what had begun there had not ended. Kills of one wave share the
    time of their recovery, which counts from the last of them. `load_per_s` trades of the load came
    into LOG each second just before; 0 where that was not measured.
    """

    victim: str
    where: str
    inside: bool
    recovered_s: float
    wave: int
    load_per_s: int = 0


@dataclass
class Report:
    """The lines so far, kept in `path` as they come."""

    path: Path
    lines: list[Line] = field(default_factory=list)
    under: str = ""

    def add(self, line: Line) -> None:
        """Add a line."""
        self.lines.append(line)
        with self.path.open("ab") as file:
            file.write(orjson.dumps(asdict(line)) + b"\n")

    def load(self, offered_per_s: int, rows: int, seconds: float) -> None:
        """Say what the load was: rows that arrived, the times of recovery counted in."""
        self.under = (
            f"\n\n{offered_per_s:,} trades/s were offered; {rows:,} arrived in {seconds:,.0f} s, "
            f"recoveries included: {rows / seconds:,.0f}/s"
        )

    def table(self) -> str:
        """Return the lines as Markdown."""
        rows = [
            f"| {line.wave} | {line.victim} | {line.where} | {'yes' if line.inside else ''}"
            f" | {line.recovered_s:.1f} | {line.load_per_s or ''} |"
            for line in self.lines
        ]
        head = ["| wave | killed -9 | at | in flight | flows again after s | trades/s |"]
        head.append("|-:|-|-|-|-:|-:|")
        return "\n".join([*head, *rows]) + self.under
