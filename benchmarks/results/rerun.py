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
from .definition import ROOT, DefinitionError, Job, Measurement

LINES = 3  # of what a failed run has said
POLL = 0.2  # seconds
FOLDER = "ORTHORNN_RUN"  # hands a folder over, for no quoting is safe in every path


class Running(NamedTuple):
    """A run that has been started, and what it says, unless that goes to the screen."""

    job: Job
    folder: Path
    process: subprocess.Popen[bytes]
    said: Path | None


def train(jobs: Sequence[Job], runs: Path, side_by_side: int) -> list[str]:
    """Do the runs that are not over; one that was stopped goes on.

    A single run at a time shows its own progress; several show how many are over. Ctrl-C and
    SIGTERM reach all of them, and they save.

    Args:
        jobs: the runs.
        runs: the folder for all runs.
        side_by_side: how many at a time.

    Returns one line for each that failed; to diverge is no failure.

    Raises:
        ConfigError: if one cannot be configured; nothing has been started then.
        DefinitionError: if two of them are the same run.
    """
    waiting = [(job, folder) for job, folder in _places(jobs, runs) if not is_complete(folder)]
    quiet = side_by_side > 1
    failures: list[str] = []
    running: list[Running] = []
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
                    bar.set_postfix_str(one.job.label)
                    bar.update()
                time.sleep(POLL)
        finally:
            for one in running:  # after Ctrl-C they stop already, and ignore this
                one.process.send_signal(signal.SIGTERM)
            for one in running:
                one.process.wait()
    return failures


def measure(measurement: Measurement, folder: Path) -> list[str]:
    """Run the program of a measurement, which writes into ``folder``; a line if it failed."""
    arguments = [part.format(folder=folder) for part in measurement.command]
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, env=_environment(), check=False)
    return [f"{' '.join(arguments)} ended with {done.returncode}"] if done.returncode else []


def _places(jobs: Sequence[Job], runs: Path) -> list[tuple[Job, Path]]:
    """Every run and its folder."""
    places: dict[str, Job] = {}
    composing = tqdm(jobs, "reading configurations", delay=2, disable=None, leave=False, unit="")
    for job in composing:
        folder = job.composed().folder
        if folder in places:
            raise DefinitionError(f"one run by two names: {places[folder].folder}, {job.folder}")
        places[folder] = job
    return [(job, runs / folder) for folder, job in places.items()]


def _start(job: Job, folder: Path, log: Path | None) -> Running:
    more = ("threads=1", "logger=disabled", f"hydra.run.dir=${{oc.env:{FOLDER}}}")
    command = [sys.executable, *job.arguments(*more)]
    environment = {**_environment(), FOLDER: str(folder)}
    if log is None:
        return Running(job, folder, subprocess.Popen(command, env=environment), None)
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
    return Running(job, folder, process, log)


def _failure(one: Running) -> list[str]:
    """A line for a run that has ended with an error other than that it diverged."""
    code, last = one.process.returncode, ""
    if one.said is not None:
        text = one.said.read_text(encoding="utf-8", errors="replace")
        last = " ".join(text.strip().splitlines()[-LINES:])
    if code == 0 or is_complete(one.folder):
        return []
    return [f"{one.job.command} ended with {code}{f': {last}' if last else ''}"]


def _environment() -> dict[str, str]:
    """Ours, in which the benchmarks can be found from any folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
