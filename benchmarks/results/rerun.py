"""Runs in processes of their own, one thread each, as many side by side as asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.system.signals import termination_exits

from .archive import is_complete
from .definition import REPOSITORY, DefinitionError, Measurement
from .planned_runs import PlannedRun

SHOWN_ERROR_LINES = 3  # of what a failed run has said
POLL_SECONDS = 0.2
FOLDER_VARIABLE = "ORTHORNN_RUN"  # hands a folder over, for no quoting is safe in every path


class RunningProcess(NamedTuple):
    """A run that has been started, and what it says, unless that goes to the screen."""

    plan: PlannedRun
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path | None


def train_runs(planned: Sequence[PlannedRun], all_runs: Path, side_by_side: int) -> list[str]:
    """Do the runs that are not over; one that was stopped goes on.

    A single run at a time shows its own progress; several show how many are over. Ctrl-C and
    SIGTERM reach all of them, and they save.

    Args:
        planned: the runs.
        all_runs: the folder for all runs.
        side_by_side: how many at a time.

    Returns one line for each that failed; to diverge is no failure.

    Raises:
        ConfigError: if one cannot be configured; nothing has been started then.
        DefinitionError: if two of them are the same run.
    """
    waiting = [
        (plan, folder)
        for plan, folder in _run_folders(planned, all_runs)
        if not is_complete(folder)
    ]
    quiet = side_by_side > 1
    failures: list[str] = []
    running: list[RunningProcess] = []
    bar = tqdm(total=len(waiting), unit=" runs", disable=None if quiet else True, smoothing=0)
    with termination_exits(), bar, tempfile.TemporaryDirectory() as logs:
        try:
            while waiting or running:
                while waiting and len(running) < side_by_side:
                    log = Path(logs) / str(len(waiting)) if quiet else None
                    running.append(_start(*waiting.pop(0), log))
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    failures += _failure(one)
                    bar.set_postfix_str(one.plan.label)
                    bar.update()
                time.sleep(POLL_SECONDS)
        finally:
            for one in running:  # after Ctrl-C they stop already, and ignore this
                one.process.send_signal(signal.SIGTERM)
            for one in running:
                one.process.wait()
    return failures


def run_measurement(measurement: Measurement, folder: Path) -> list[str]:
    """Run the program of a measurement, which writes into ``folder``; a line if it failed."""
    arguments = [part.format(folder=folder) for part in measurement.command]
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, env=_environment(), check=False)
    return [f"{' '.join(arguments)} ended with {done.returncode}"] if done.returncode else []


def _run_folders(planned: Sequence[PlannedRun], all_runs: Path) -> list[tuple[PlannedRun, Path]]:
    """Every run and its folder."""
    folders: dict[str, PlannedRun] = {}
    composing = tqdm(planned, "reading configurations", delay=2, disable=None, leave=False, unit="")
    for plan in composing:
        folder = plan.composed().folder
        if folder in folders:
            raise DefinitionError(f"one run by two names: {folders[folder].name}, {plan.name}")
        folders[folder] = plan
    return [(plan, all_runs / folder) for folder, plan in folders.items()]


def _start(plan: PlannedRun, folder: Path, log: Path | None) -> RunningProcess:
    more = ("threads=1", "logger=disabled", f"hydra.run.dir=${{oc.env:{FOLDER_VARIABLE}}}")
    command = [sys.executable, *plan.arguments(*more)]
    environment = {**_environment(), FOLDER_VARIABLE: str(folder)}
    if log is None:
        return RunningProcess(plan, folder, subprocess.Popen(command, env=environment), None)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    return RunningProcess(plan, folder, process, log)


def _failure(one: RunningProcess) -> list[str]:
    """A line for a run that has ended with an error other than that it diverged."""
    code, last = one.process.returncode, ""
    if one.log is not None:
        text = one.log.read_text(encoding="utf-8", errors="replace")
        last = " ".join(text.strip().splitlines()[-SHOWN_ERROR_LINES:])
    if code == 0 or is_complete(one.folder):
        return []
    return [f"{one.plan.command} ended with {code}{f': {last}' if last else ''}"]


def _environment() -> dict[str, str]:
    """The environment of this process, in which the benchmarks can be found from any folder."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
