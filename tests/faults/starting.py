"""How a benchmark is started to be hurt: as the command, or as a fork that calls what it calls."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests import forks
from tests.forks import ROOT

PATIENCE = 120.0  # seconds for a run of a second or two
ALONE = {"HYDRA_FULL_ERROR": "0", "OMP_NUM_THREADS": "1"}


class Ended(NamedTuple):
    """What a process left.

    Attributes:
        code: its exit code; None if it had to be killed.
        out: what it printed.
        err: its errors and progress.
        seconds: that it took.
        busy: seconds of a processor that it took, whatever else the machine did; 0 of a fork.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    busy: float = 0.0


@dataclass(frozen=True)
class Started:
    """A benchmark that runs.

    Attributes:
        pid: of its process.
        out: the file that gets what it prints.
        err: the file that gets its errors and progress.
        wait: waits for its end so many seconds; None if it goes on, else its exit code, which
            after a signal is the signal's negative number.
        began: when it was started.
        busy: seconds of a processor that it took, once it has ended.
    """

    pid: int
    out: Path
    err: Path
    wait: Callable[[float], int | None]
    began: float
    busy: Callable[[], float] = float

    def kill(self) -> None:
        """Kill it at once, as kill -9 does, and see it gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait(PATIENCE)

    def end(self, patience: float = PATIENCE) -> Ended:
        """Wait until it ends by itself; it is killed if it takes longer than ``patience``."""
        code = self.wait(patience)
        seconds = time.monotonic() - self.began
        if code is None:
            self.kill()
        out, err = (p.read_text(encoding="utf-8", errors="replace") for p in (self.out, self.err))
        return Ended(code, out, err, seconds, self.busy())


Start = Callable[[str, Sequence[str], Path], Started]


def fork(
    name: str, arguments: Sequence[str], folder: Path, most_bytes: int | None = None
) -> Started:
    """Start a benchmark in a fork.

    Args:
        name: of the benchmark.
        arguments: of the command line.
        folder: from which it is called; what it prints goes beside that folder.
        most_bytes: no file may become longer than this.
    """
    out, err = _files(folder)
    began = time.monotonic()
    given = {**os.environ, **ALONE}
    process = forks.start(
        _limited, name, arguments, most_bytes, folder=folder, out=out, err=err, environment=given
    )

    def wait(patience: float) -> int | None:
        process.join(patience)
        return process.exitcode

    return Started(process.pid or 0, out, err, wait, began)


def command(
    name: str, arguments: Sequence[str], folder: Path, hash_seed: str | None = None
) -> Started:
    """Start ``python -m benchmarks.NAME``.

    Args:
        name: of the benchmark, or of another module of this package.
        arguments: of the command line.
        folder: from which it is called; what it prints goes beside that folder.
        hash_seed: the value of ``PYTHONHASHSEED``.
    """
    out, err = _files(folder)
    seed = {} if hash_seed is None else {"PYTHONHASHSEED": hash_seed}
    began = time.monotonic()
    with out.open("wb") as to_out, err.open("wb") as to_err:
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments],
            cwd=folder,
            env={**os.environ, **ALONE, **seed, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
        )

    busy = 0.0

    def wait(patience: float) -> int | None:
        nonlocal busy
        until = time.monotonic() + patience
        while process.returncode is None:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                busy = usage.ru_utime + usage.ru_stime
            elif time.monotonic() >= until:
                break
            else:
                time.sleep(min(0.005, max(0.0, until - time.monotonic())))
        return process.returncode

    return Started(process.pid, out, err, wait, began, lambda: busy)


def _files(folder: Path) -> tuple[Path, Path]:
    """Where output goes: beside the folder of the call, in which nothing but the run may write."""
    number = 1
    while (out := folder.parent / f"{folder.name}.out-{number}").exists():
        number += 1
    out.touch()
    return out, out.with_name(f"{folder.name}.err-{number}")


def _limited(name: str, arguments: Sequence[str], most_bytes: int | None) -> None:
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    forks.benchmark(name, arguments)
