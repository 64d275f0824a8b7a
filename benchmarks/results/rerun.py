"""Runs in processes of their own, one thread each, as many side by side as asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from .experiment import ROOT, Measurement
from .jobs import Job
from .keep import over

LINES = 3  # of what a failed run has said


def train(jobs: Sequence[Job], runs: Path, side_by_side: int) -> list[str]:
    """Do the runs that are not over; one that was stopped goes on.

    A single run at a time shows its own progress; several show how many are over.

    Args:
        jobs: the runs.
        runs: the folder for all runs.
        side_by_side: how many at a time.

    Returns one line for each that failed.
    """
    failures = []
    folders = {job: runs / job.trains_in for job in jobs}  # here: Hydra composes in one thread
    todo = [job for job in jobs if not over(folders[job])]
    with (
        ThreadPoolExecutor(side_by_side) as pool,
        tqdm(total=len(todo), unit=" runs", disable=None, smoothing=0) as bar,
    ):
        waiting = {pool.submit(_train, job, folders[job], side_by_side > 1): job for job in todo}
        try:
            for done in as_completed(waiting):
                failures += list(_failure(waiting[done], done.result()))
                bar.set_postfix_str(waiting[done].label)
                bar.update()
        except BaseException:  # the runs have had the same Ctrl-C, and save
            pool.shutdown(cancel_futures=True)
            raise
    return failures


def measure(measurement: Measurement, folder: Path) -> int:
    """Run the program of a measurement, which writes into ``folder``; its exit code."""
    arguments = [part.format(folder=folder) for part in measurement.command]
    return subprocess.run(
        [sys.executable, "-m", *arguments], env=_environment(), check=False
    ).returncode


def _train(job: Job, folder: Path, quiet: bool) -> tuple[int, str]:
    """The exit code of a run and, of a quiet one, what it said."""
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    more = ("threads=1", "logger=disabled", f"hydra.run.dir='{quoted}'")
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(
        [sys.executable, *job.arguments(*more)],
        env=_environment(),
        stdout=output,
        stderr=output,
        text=True,
        check=False,
        errors="replace",
    )
    return done.returncode, done.stderr or ""


def _failure(job: Job, outcome: tuple[int, str]) -> Iterator[str]:
    code, said = outcome
    if code:
        last = " ".join(said.strip().splitlines()[-LINES:])
        yield f"{job.command} ended with {code}{f': {last}' if last else ''}"


def _environment() -> dict[str, str]:
    """Ours, in which the benchmarks can be found from any folder."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
