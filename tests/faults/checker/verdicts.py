"""Verdicts: of each invariant whether it held, and where it did not."""

from dataclasses import asdict, dataclass, field
from typing import Any

FINDINGS_MAX = 5
"""Counterexamples that are kept of one invariant; all are counted."""

STATEMENTS = {
    "I1": "every confirmed append is in LOG exactly once",
    "I2": "source sequences and trade ids have no hole that is not declared",
    "I3": "outputs are what LOG says, computed again",
    "I4": "every output once, none beyond its checkpoint, checkpoints never go back",
    "I5": "a batch is there as a whole or not at all",
    "I6": "nobody writes after another has taken over",
    "I7": "ClickHouse has exactly the rows of LOG and OUT; its views follow",
    "I8": "Postgres has exactly the rows of its position",
    "I9": "versions of a table agree; the one that answers is whole",
    "I10": "what could not be taken has its dead letter, exactly once",
    "I11": "memory stays bounded",
    "I12": "LOG is the one that checkpoints, tables and archive speak of",
    "I13": "decisions on one aggregate follow each other",
}


@dataclass(frozen=True)
class Finding:
    """One counterexample: where, what had to be there, and what is."""

    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}"


@dataclass
class Verdict:
    """Of one invariant: `checked` things were looked at, `broken` of them were wrong.

    `partial` says what of it could not be looked at; with nothing checked it is not applicable.
    """

    name: str
    checked: int = 0
    broken: int = 0
    findings: list[Finding] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """`held`, `broken` or `not applicable`."""
        if self.broken:
            return "broken"
        return "held" if self.checked else "not applicable"


class Verdicts:
    """The verdicts of one check, filled as it goes."""

    def __init__(self, findings_max: int = FINDINGS_MAX) -> None:
        self._findings_max = findings_max
        self.of = {name: Verdict(name) for name in STATEMENTS}

    def held(self, name: str, count: int = 1) -> None:
        """Count things that were looked at, right or wrong."""
        self.of[name].checked += count

    def broken(self, name: str, where: str, expected: object, found: object) -> None:
        """Count one that is wrong; keep it if it is among the first."""
        verdict = self.of[name]
        verdict.broken += 1
        if len(verdict.findings) < self._findings_max:
            verdict.findings.append(Finding(where, str(expected), str(found)))

    def without(self, name: str, why: str) -> None:
        """Note what could not be looked at."""
        if why not in self.of[name].partial:
            self.of[name].partial.append(why)

    @property
    def ok(self) -> bool:
        """Whether none is broken."""
        return not self.broken_ones

    @property
    def broken_ones(self) -> set[str]:
        """The names of those that are broken."""
        return {name for name, verdict in self.of.items() if verdict.broken}

    def text(self) -> str:
        """For people: a line each, counterexamples below."""
        lines = []
        for name, verdict in self.of.items():
            count = f" ({verdict.checked:,} checked)" if verdict.checked else ""
            lines.append(f"{name:4} {verdict.outcome:14} {STATEMENTS[name]}{count}")
            if verdict.broken:
                lines.append(f"     {verdict.broken:,} counterexamples, the first:")
            lines += [f"     - {finding}" for finding in verdict.findings]
            lines += [f"     (not looked at: {why})" for why in verdict.partial]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": self.ok,
            "invariants": {
                name: {"outcome": verdict.outcome, **asdict(verdict)}
                for name, verdict in self.of.items()
            },
        }
