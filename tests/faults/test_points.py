"""The list of crash points is the code's: none is missing in it, none is only in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidemill.streams
from tidemill.streams import crash_points
from tidemill.tests.faults.points import CLICKHOUSE_STEPS, POINTS, POSTGRES_STEPS, of, sinks

ROOT = Path(tidemill.streams.__file__).parent.parent
FOLDERS = ("schemas", "streams", "processors", "projections", "gateway", "deploy")
GROUPS = {
    "self._group": "<connection>.batch",
    "self._single": "<connection>.message",
}
"""What the names in f-strings of points stand for."""


def text_of(node: ast.expr) -> str | None:
    """The name that an argument of `reach` gives, None where it was named elsewhere."""
    if isinstance(node, ast.NamedExpr):
        return text_of(node.value)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        pieces = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                pieces.append(GROUPS[ast.unparse(part.value)])
            else:
                assert isinstance(part, ast.Constant)
                pieces.append(str(part.value))
        return "".join(pieces)
    return None


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """(function, name of a point) of every call that passes one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        if called in ("crash_points.reach", "crash_points.armed", "self._step") and node.args:
            name = text_of(node.args[0])
            if name is not None:
                yield called, name


def in_code() -> set[str]:
    steps = {"clickhouse": CLICKHOUSE_STEPS, "postgres": POSTGRES_STEPS}
    found: set[str] = set()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for called, name in calls(path):
                if called != "self._step":
                    found.add(name)
                else:  # a step of a sink: of each group that a sink is made under
                    assert name in steps[path.parent.name], (path, name)
                    found |= {f"{group}.<table>.{name}" for group in ("sink", "rebuild")}
    return found


def test_every_point_named_in_the_code_is_in_the_list_and_no_other() -> None:
    assert in_code() == {point.name for point in POINTS}


def test_a_sink_passes_every_step_in_the_list_of_its_database() -> None:
    for folder, steps in (("clickhouse", CLICKHOUSE_STEPS), ("postgres", POSTGRES_STEPS)):
        path = ROOT / "projections" / folder / "sink.py"
        assert {name for _, name in calls(path)} == set(steps)


def test_points_are_found_by_role_and_occasion_and_by_table() -> None:
    assert [p.name for p in of("time")][:2] == ["time.append.storing", "time.append.stored"]
    assert {p.occasion for p in of("graph", "snapshot")} == {"snapshot"}
    named = [p.name for p in sinks(["trades"], ["latest_trades"])]
    assert "sink.trades.inserting" in named and "sink.latest_trades.moved" in named
    assert "sink.latest_trades.inserting" not in named


def test_points_are_free_when_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off, a point is one look at a variable of the module: nothing is opened, counted or kept."""
    assert crash_points._points is None

    def forbidden(*_: object) -> None:
        raise AssertionError("a point that is off looks at a file")

    for name in ("exists", "read_bytes", "rename"):
        monkeypatch.setattr(Path, name, forbidden)
    for point in POINTS:
        crash_points.reach(point.name)
        assert not crash_points.armed(point.name)
