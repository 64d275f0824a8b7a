"""Benchmarks started as they are by a command, each in a process that can be killed."""

from __future__ import annotations

import itertools
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from tests import forks

MAX_SECONDS = 120.0  # for a run of a second or two
ENVIRONMENT = {"HYDRA_FULL_ERROR": "0", "OMP_NUM_THREADS": "1"}


class Ended(NamedTuple):
    """What a process left.

    Attributes:
        code: its exit code, after a signal the signal's negative number; None if it had to be
            killed.
        out: what it printed.
        err: its errors and progress.
    """

    code: int | None
    out: str
    err: str


@dataclass(frozen=True)
class Started:
    """A process that runs, and the files that get what it prints and its errors."""

    process: BaseProcess
    out: Path
    err: Path

    def wait(self, seconds: float) -> int | None:
        """Wait for its end so long; its exit code, or None if it goes on."""
        self.process.join(seconds)
        return self.process.exitcode

    def wait_until(self, condition: Callable[[], object], seconds: float = MAX_SECONDS) -> bool:
        """Wait until a condition holds; whether it does before the process ends or time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            if self.wait(0.001) is not None:
                return False
        return False

    def kill(self) -> None:
        """Kill it at once, as kill -9 does, and see it gone."""
        self.process.kill()
        self.process.join(MAX_SECONDS)

    def end(self) -> Ended:
        """Wait until it ends by itself; it is killed if it takes too long."""
        code = self.wait(MAX_SECONDS)
        if code is None:
            self.kill()
        out, err = (p.read_text(encoding="utf-8", errors="replace") for p in (self.out, self.err))
        return Ended(code, out, err)


def fork(
    name: str, arguments: Sequence[str], folder: Path, max_bytes: int | None = None
) -> Started:
    """Start a benchmark.

    Args:
        name: of the benchmark.
        arguments: of the command line.
        folder: from which it is called; what it prints goes beside that folder.
        max_bytes: no file may become longer than this.
    """
    numbered = (folder.with_name(f"{folder.name}.out-{k}") for k in itertools.count(1))
    out = next(path for path in numbered if not path.exists())
    out.touch()
    err = out.with_suffix(out.suffix.replace("out", "err"))
    environment = {**os.environ, **ENVIRONMENT}
    process = forks.start(
        _call, name, arguments, max_bytes, folder=folder, out=out, err=err, environment=environment
    )
    return Started(process, out, err)


def _call(name: str, arguments: Sequence[str], max_bytes: int | None) -> None:
    if max_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    forks.benchmark(name, arguments)
