"""Disks that are full, read-only or gone: one line says so, and with space the run goes on."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter

from benchmarks.records.files import (
    BEST,
    CHECKPOINT,
    CONFIG,
    GRADIENTS,
    GRADIENTS_FIGURE,
    LOSS_FIGURE,
    METADATA,
    METRICS,
)
from tests.faults.bench import Bench, Case, Row
from tests.faults.disk import Disk, can_mount, small_disk
from tests.faults.left import Left, differences, left
from tests.faults.starting import PATIENCE, Started, fork
from tests.faults.trials import FOLDER, Trial, refused, whole

STEPS = 300
# the first checkpoint comes late, so that the records take pages of their own before it
TRIAL = Trial(
    "copy",
    (
        *("task.delay=2", "parameter_budget=16000", f"train.steps={STEPS}", "train.batch_size=2"),
        *("train.evaluate_every=100", "train.evaluation_batches=1", "train.checkpoint_every=100"),
        *("train.gradient_flow_every=150",),
    ),
)
FIRST = 6  # pages that are left in turn, from none: the first files are small
OUTSIDE = 0.25  # the share of times that the disk is filled while the run trains
FIGURES = (LOSS_FIGURE, GRADIENTS_FIGURE)
HIT = {METADATA, CONFIG, METRICS, GRADIENTS, BEST}
HIT |= {CHECKPOINT, "a figure"}
ENOUGH = 20  # points from which on each of these is to be hit
CAUSES = ("No space left on device", "File too large")


def measure(bench: Bench, times: int) -> None:
    """Fill the disk of a run at so many points, then make its folder read-only and take it away."""
    if can_mount():
        _fill(bench, times)
        with bench.row("a folder on a read-only disk", 2) as row:
            _read_only(bench, row)
    else:
        with bench.row("a limit to the size of files, as no disk may be mounted", times) as row:
            _limit(bench, row, times)
    with bench.row("a folder that is taken away while the run trains", 2) as row:
        for number in range(2):
            _taken_away(bench, row, number)


def _fill(bench: Bench, times: int) -> None:
    outside = round(OUTSIDE * times)
    with bench.row("a disk without space from the start", times - outside) as row:
        with bench.case(row, "whole-full") as case, small_disk(case.call) as disk:
            expected = whole(case, TRIAL)
            most = disk.used - 1
        first = list(range(min(FIRST, times - outside)))
        rest = times - outside - len(first)
        points = first + [FIRST + (most - FIRST) * k // max(1, rest - 1) for k in range(rest)]
        hit: Counter[str] = Counter()
        for pages in points:
            with bench.case(row, "full") as case, small_disk(case.call) as disk:
                disk.fill(leave=pages)
                started = fork(TRIAL.name, TRIAL.arguments(), case.call)
                hit[_fails(case, started, f"with {pages} pages")] += 1
                disk.make_space()
                _goes_on(case, expected)
            bench.tick()
        row.came = _shown(hit)
    before = hit.copy()
    with bench.row("a disk that is filled while the run trains", outside) as row:
        for _ in range(outside):
            with bench.case(row, "filled") as case, small_disk(case.call) as disk:
                hit[_filled(bench, case, disk)] += 1
                disk.make_space()
                _goes_on(case, expected)
            bench.tick()
        row.came = _shown(hit - before)
        if times >= ENOUGH and HIT - set(hit):
            row.broken.append(f"no point hit {sorted(HIT - set(hit))}")


def _filled(bench: Bench, case: Case, disk: Disk) -> str:
    """Fill the disk after a random number of steps."""
    started = fork(TRIAL.name, TRIAL.arguments(), case.call)
    after = bench.dice.randrange(1, STEPS * 9 // 10)
    _steps(case, started, after)
    disk.fill(leave=bench.dice.randrange(3))
    return _fails(case, started, f"after step {after}")


def _limit(bench: Bench, row: Row, times: int) -> None:
    """Let files grow to a size and no further, which a process may demand of itself."""
    with bench.case(row, "whole-limit") as case:
        expected = whole(case, TRIAL)
        sizes = [path.stat().st_size for path in (case.call / FOLDER).iterdir()]
    hit: Counter[str] = Counter()
    for k in range(times):
        most = (max(sizes) - 1) * (k + 1) // times
        with bench.case(row, "limit") as case:
            started = fork(TRIAL.name, TRIAL.arguments(), case.call, most_bytes=most)
            hit[_fails(case, started, f"with {most} bytes a file")] += 1
            _goes_on(case, expected)
        bench.tick()
    row.came = _shown(hit)


def _fails(case: Case, started: Started, when: str) -> str:
    """See that a run ends in one line that names a file and the cause; returns the file's name."""
    ended = started.end()
    for wrong in refused(ended):
        case.expect(False, f"{when}: {wrong}")
    last = (ended.err.strip().splitlines() or [""])[-1]
    named = re.search(rf"{FOLDER}(?:/([\w.-]+))? cannot be written", last)
    case.expect(named, f"{when}: no file is named in {last!r}")
    case.expect(any(cause in last for cause in CAUSES), f"{when}: no cause in {last!r}")
    name = (named and named[1]) or "the folder"
    return "a figure" if name in FIGURES else name


def _goes_on(case: Case, expected: Left) -> None:
    """See that the same command, now that there is space, leaves what it would have left."""
    ended = fork(TRIAL.name, TRIAL.arguments(), case.call).end()
    if not case.expect(
        ended.code == 0, f"with space: exit code {ended.code}, {ended.err[-300:]!r}"
    ):
        return
    for wrong in differences(expected, left(case.call / FOLDER))[:3]:
        case.expect(False, f"with space, the run is another: {wrong}")


def _steps(case: Case, started: Started, number: int) -> None:
    """Wait for so many steps."""
    rows = case.call / FOLDER / METRICS
    until = time.monotonic() + PATIENCE
    while started.wait(0.002) is None and time.monotonic() < until:
        if rows.exists() and rows.read_bytes().count(b"\n") >= number:
            return


def _read_only(bench: Bench, row: Row) -> None:
    """A new run, then one that was stopped, are refused at once."""
    came = 0
    with bench.case(row, "read-only") as case, small_disk(case.call) as disk:
        for when in ("for a new run", "for a run that was stopped"):
            disk.read_only(True)
            ended = fork(TRIAL.name, TRIAL.arguments(), case.call).end()
            wrong = refused(ended, codes=[2] if came == 0 else [1, 2])
            wrong += [] if "ead-only" in ended.err else [f"no cause in {ended.err[-300:]!r}"]
            for told in wrong:
                case.expect(False, f"read-only {when}: {told}")
            came += not wrong
            disk.read_only(False)
            started = fork(TRIAL.name, TRIAL.arguments(), case.call)
            _steps(case, started, STEPS // 2)
            started.kill()
            bench.tick()
    row.came = f"{came} refused in one line"


def _taken_away(bench: Bench, row: Row, number: int) -> None:
    """The run's folder is renamed or removed under its feet."""
    with bench.case(row, "taken") as case:
        started = fork(TRIAL.name, TRIAL.arguments(), case.call)
        _steps(case, started, STEPS // 2)
        (case.call / FOLDER).rename(case.folder / "away")
        if number:
            shutil.rmtree(case.folder / "away")
        ended = started.end()
        wrong = refused(ended)
        if "cannot be written" not in ended.err:
            wrong.append(f"no file is named in {ended.err[-300:]!r}")
        for told in wrong:
            case.expect(False, f"without its folder: {told}")
        row.came = "one line" if not row.broken and not case.broken else "not one line"
    bench.tick()


def _shown(hit: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(hit.items()))
