"""Runs that are killed at random moments, again and again, and end as if they never had been.

A share of the kills comes while a run starts, a share is aimed: at its random moment it waits for
the next file to be begun, and strikes while it is written or just after. The rest strike blindly.
"""

from __future__ import annotations

import contextlib
import random
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.records.files import GRADIENTS, METRICS
from benchmarks.runs import checkpoints
from tests.faults.bench import Bench, Case, Row
from tests.faults.left import Left, differences, left
from tests.faults.starting import PATIENCE, Start, Started, command, fork
from tests.faults.trials import FOLDER, KILLED, Trial, whole

STARTING, AIMED = 0.15, 0.5  # shares of the kills
START_UP = 0.5  # seconds that a fork takes until it trains
WINDOW = 1.0  # seconds of training in which the other kills come
LONG = 0.0005  # seconds that an aimed kill waits at most when a file has been begun
SLOWER = 8  # times as long as a fork takes the command to start
COMMANDS = 0.05  # the share of kills of the command itself
LOOKS = 20  # for a file that has been begun, between two for the run's end
CAUGHT = 0.25  # the share of kills that is to be caught inside a write
ENOUGH = 100  # kills from which on such a share says something
SHOWN = 3  # differences of one run


@dataclass
class Count:
    """What is counted over the kills of one trial."""

    kills: int = 0
    commands: int = 0
    caught: int = 0
    runs: int = 0
    same: int = 0
    lost: int = 0


def measure(bench: Bench, times: int) -> None:
    """Kill runs of each benchmark with SIGKILL, ``times`` in all."""
    counts = []
    for k, (name, trial) in enumerate(KILLED.items()):
        share = times * (k + 1) // len(KILLED) - times * k // len(KILLED)
        with bench.row(f"kill -9 of {name}", share) as row:
            with bench.case(row, f"whole-{name}") as case:
                expected = whole(case, trial)
            counts.append(hurt(bench, row, trial, expected, share))
            row.came = told(counts[-1])
    caught = sum(count.caught for count in counts)
    if times >= ENOUGH and caught < CAUGHT * times:
        bench.rows[-1].broken.append(f"{caught} of {times} kills were caught inside a write")


def hurt(bench: Bench, row: Row, trial: Trial, expected: Left, times: int) -> Count:
    """Start one run after the other until so many kills are done, and see each to its end."""
    count = Count()
    while count.kills < times:
        with bench.case(row, f"kill-{trial.name}") as case:
            while True:
                ended = _once(bench, case, trial, count, kill=count.kills < times)
                if ended is not None:
                    break
                bench.tick()
            if ended != 0:
                continue
            count.runs += 1
            wrong = differences(expected, left(case.call / FOLDER))
            count.same += not wrong
            for told in wrong[:SHOWN]:
                case.expect(False, f"the run that was killed is another: {told}")
    return count


def _once(bench: Bench, case: Case, trial: Trial, count: Count, kill: bool) -> int | None:
    """Start or go on with the run of a case; its exit code, or None if it was killed."""
    folder = case.call / FOLDER
    true_command = kill and bench.dice.random() < COMMANDS
    start: Start = command if true_command else fork
    saved = saved_step(folder)
    started = start(trial.name, trial.arguments(), case.call)
    code = strike(started, folder, bench.dice, SLOWER if true_command else 1) if kill else None
    if code is None and not kill:
        ended = started.end()
        code = -1 if ended.code is None else ended.code
    if code is None:
        count.kills += 1
        count.commands += true_command
        count.caught += inside_a_write(folder)
    elif code != 0:
        last = (started.err.read_text(encoding="utf-8").strip().splitlines() or [""])[-1]
        case.expect(False, f"a run that was killed cannot go on: exit code {code}, {last!r}")
        count.lost += 1
    count.lost += not _kept(case, trial, started.out, saved)
    return code


def strike(started: Started, folder: Path, dice: random.Random, slower: float = 1) -> int | None:
    """Kill the run of a folder at a random moment; None if it was killed.

    If it came to its end before that, its exit code.
    """
    starting, aimed = dice.random() < STARTING, dice.random() < AIMED
    code = None if starting else _trains(started)
    if code is None:
        code = started.wait(dice.uniform(0, slower * START_UP if starting else WINDOW))
    if code is None and aimed:
        code = _writes(started, folder)
        time.sleep(dice.uniform(0, LONG))
    if code is None:
        started.kill()
        code = started.wait(0)
    return None if code == -signal.SIGKILL else code


def _trains(started: Started) -> int | None:
    """Wait for the first that a run says, which is when its checks are over."""
    until = time.monotonic() + PATIENCE
    code = None
    while code is None and not started.out.stat().st_size and time.monotonic() < until:
        code = started.wait(0.005)
    return code


def _writes(started: Started, folder: Path) -> int | None:
    """Wait for the next file that a run begins, looking often: it is there for a millisecond."""
    until = time.monotonic() + WINDOW
    code = None
    while code is None and time.monotonic() < until:
        for _ in range(LOOKS):
            with contextlib.suppress(FileNotFoundError):
                if any(path.name.endswith(".tmp") for path in folder.iterdir()):
                    return None
        code = started.wait(0)
    return code


def inside_a_write(folder: Path) -> bool:
    """Whether a killed run left a file or a line that it had not written to its end."""
    if not folder.is_dir():
        return False
    lines = [folder / name for name in (METRICS, GRADIENTS)]
    half = [p for p in lines if p.exists() and not (b"\n" + p.read_bytes()).endswith(b"\n")]
    return bool(half) or any(folder.glob(".*.tmp"))


def saved_step(folder: Path) -> int:
    """The step of a run's newest checkpoint that can be read, 0 without one."""
    steps = [0]
    for path in folder.glob("checkpoint*.pt"):
        with contextlib.suppress(Exception):  # whatever damaged bytes raise
            steps.append(checkpoints.read_file(path)["state"]["step"])
    return max(steps)


def damaged(folder: Path) -> list[str]:
    """The files of weights that cannot be read, of which there should be none after a kill."""
    found = []
    for path in sorted(folder.glob("*.pt")):
        try:
            checkpoints.read_file(path)
        except Exception as error:
            found.append(f"{path.name} ({error})")
    return found


def _kept(case: Case, trial: Trial, out: Path, before: int) -> bool:
    """Whether a run went on from where it was saved, and what it wrote is saved now."""
    folder = case.call / FOLDER
    now = saved_step(folder)
    went_on = re.search(r"from step (\d+) on", out.read_text(encoding="utf-8"))
    rows = folder / METRICS
    lines = rows.read_bytes().count(b"\n") if rows.exists() else 0
    every = next(
        int(o.partition("=")[2]) for o in trial.overrides if o.startswith("train.checkpoint_every=")
    )
    due = max(0, lines - 1) // every * every  # the last row may be there before its checkpoint
    fine = case.expect(
        went_on is None or int(went_on[1]) == before,
        f"went on from step {went_on and went_on[1]}, though step {before} was saved",
    )
    fine &= case.expect(now >= max(before, due), f"step {max(before, due)} was saved, found {now}")
    bad = damaged(folder)
    fine &= case.expect(not bad, f"a kill has damaged {', '.join(bad)}")
    return fine


def told(count: Count) -> str:
    """A line on a count."""
    return (
        f"{count.caught} caught in a write, {count.lost} lost; "
        f"{count.same} of {count.runs} runs bit-identical ({count.commands} kills of the command)"
    )
