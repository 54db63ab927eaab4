"""Crash points: off they do nothing; armed they kill once, and say so."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tidemill.streams.crash_points import VARIABLE, Arming, CrashPoints, Hit

PROGRAM = """
import sys, time
from tidemill.streams import crash_points
step = crash_points.of("work")
for k in range(5):
    step("doing")
    print(k, flush=True)
    step("done")
if "wait" in sys.argv:
    step("doing")
    time.sleep(5)
"""


def run(directory: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != VARIABLE}
    if directory is not None:
        env[VARIABLE] = str(directory)
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)


def arm(directory: Path, point: str, arming: Arming) -> None:
    (directory / f"{point}.armed").write_text(arming.model_dump_json())


def hit(directory: Path, point: str) -> Hit:
    return Hit.model_validate_json((directory / f"{point}.hit").read_bytes())


def test_without_the_variable_nothing_happens(tmp_path: Path) -> None:
    arm(tmp_path, "work.doing", Arming())
    assert run(None).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["work.doing.armed"]


def test_a_process_kills_itself_at_the_nth_time_and_only_once(tmp_path: Path) -> None:
    arm(tmp_path, "work.doing", Arming(nth=3))
    first, second = run(tmp_path), run(tmp_path)
    assert (first.returncode, first.stdout.split()) == (-signal.SIGKILL, ["0", "1"])
    assert (second.returncode, len(second.stdout.split())) == (0, 5)
    told = hit(tmp_path, "work.doing")
    assert (told.point, told.latest, told.by) == ("work.doing", "work.doing", told.killed)


def test_another_process_is_killed_while_the_one_that_reached_the_point_goes_on(
    tmp_path: Path,
) -> None:
    victim = subprocess.Popen(["sleep", "60"])
    arm(tmp_path, "work.done", Arming(nth=2, pid=victim.pid))
    assert run(tmp_path).returncode == 0
    assert victim.wait(5) == -signal.SIGKILL
    assert hit(tmp_path, "work.done").killed == victim.pid


def test_a_late_kill_says_whether_what_began_had_ended(tmp_path: Path) -> None:
    arm(tmp_path, "work.doing", Arming(nth=6, after_s=0.05))
    assert run(tmp_path, "wait").returncode == -signal.SIGKILL
    assert hit(tmp_path, "work.doing").latest == "work.doing"
    victim = subprocess.Popen(["sleep", "60"])
    arm(tmp_path, "work.doing", Arming(nth=5, after_s=0.2, pid=victim.pid))
    assert run(tmp_path).returncode == 0
    assert victim.wait(5) == -signal.SIGKILL
    assert hit(tmp_path, "work.doing").latest == "work.done"


def test_counting_begins_when_a_point_is_armed(tmp_path: Path) -> None:
    points = CrashPoints(tmp_path)
    points.reach("work.done")
    arm(tmp_path, "work.done", Arming(nth=2))
    points.reach("work.done")
    (tmp_path / "work.done.armed").unlink()
    points.reach("work.done")
    arm(tmp_path, "work.done", Arming(nth=2))
    points.reach("work.done")
    assert json.loads((tmp_path / "work.done.armed").read_bytes())["nth"] == 2


def test_a_process_stands_still_at_a_point_and_goes_on_from_there(tmp_path: Path) -> None:
    arm(tmp_path, "work.done", Arming(nth=2, signal=signal.SIGSTOP))
    env = os.environ | {VARIABLE: str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stdout=subprocess.PIPE)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    told = hit(tmp_path, "work.done")
    assert (told.latest, told.killed) == ("work.done", process.pid)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.split()) == (0, [b"0", b"1", b"2", b"3", b"4"])
