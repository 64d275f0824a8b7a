"""What a sweep says between its runs: which of how many, and how long the rest will take."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from benchmarks.training.distributed import is_main

WRITTEN = "multirun.yaml"  # what Hydra writes into the folder of a sweep before its first job
_begun: list[Path] = []  # the folders of the sweeps of this process
MIN_SECONDS = 1.0  # what took less was skipped and says nothing of the others


class SweepProgress(Callback):
    """Counts the runs of a sweep; silent for a single run.

    Launchers that run jobs side by side give each worker a copy of it: then the time that is left
    follows from the number of the job, for those before it have ended, all but the workers' own.
    """

    def __init__(self) -> None:
        self.total: int | None = None
        self.swept: set[str] = set()
        self.began = time.time()
        self.job_began = time.time()
        self.lasted: list[float] = []

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count the jobs, from the overrides or the number of trials."""
        _begun.append(Path(config.hydra.sweep.dir).absolute())
        self.total = count_jobs(config)
        self.swept = {override.get_key_element() for override in _swept(config)}
        self.swept |= set(config.hydra.sweeper.get("params") or ())
        self.began = time.time()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Say which run begins."""
        self.job_began = time.time()
        if self.total is None or not is_main():
            return
        number = int(config.hydra.job.num)
        left = self._left(number, workers(config))
        later = "" if left is None else f", {duration(left)} left"
        what = " ".join(told for told in config.hydra.overrides.task if _key(told) in self.swept)
        text = f"run {number + 1} of {self.total}{later}: {what}"
        with contextlib.suppress(OSError):  # whoever watched is gone; the sweep goes on
            print(text, file=sys.stderr, flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how long the run took."""
        lasted = time.time() - self.job_began
        if lasted >= MIN_SECONDS:
            self.lasted.append(lasted)

    def _left(self, number: int, side_by_side: int) -> float | None:
        """Seconds until the last job ends, at the start of a job; None before any has ended."""
        remaining = (self.total or 0) - number
        if side_by_side == 1:
            return sum(self.lasted) / len(self.lasted) * remaining if self.lasted else None
        ended = number + 1 - side_by_side
        if ended < 1:
            return None
        return (time.time() - self.began) / ended * (remaining + side_by_side - 1)


def unused() -> list[Path]:
    """The folders of sweeps none of whose jobs has left anything, less what Hydra wrote there."""
    found = []
    while _begun:
        folder = _begun.pop()
        if folder.is_dir() and [path.name for path in folder.iterdir()] == [WRITTEN]:
            (folder / WRITTEN).unlink()
            found.append(folder)
    return found


def count_jobs(config: DictConfig) -> int:
    """How many jobs a sweep has: of a search its trials, else every combination of the values."""
    trials = config.hydra.sweeper.get("n_trials")
    if trials is not None:
        return int(trials)
    return math.prod(len(list(each.sweep_string_iterator())) for each in _swept(config))


def _swept(config: DictConfig) -> list[Override]:
    """The overrides of the command line that have several values."""
    parsed = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    return [override for override in parsed if override.is_sweep_override()]


def _key(override: str) -> str:
    return override.partition("=")[0]


def workers(config: DictConfig) -> int:
    """How many jobs run at a time; 1 where the launcher does not say."""
    launcher = config.hydra.launcher
    wanted = int(launcher.get("n_jobs") or launcher.get("array_parallelism") or 1)
    return wanted if wanted > 0 else max(1, (os.cpu_count() or 1) + 1 + wanted)


def duration(seconds: float) -> str:
    """About how long, for a person."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
