"""Processes that are forked from one that has imported torch and the benchmarks.

Python takes 3 to 7 s to import them; a fork of a process that has begins 10 ms after it was asked
for. It is a process of its own all the same, which can be stopped or killed, with the environment,
the folder and the output that it is given. Where forks are not safe, as on macOS with what torch
loads there, it is a new process.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FORKS = sys.platform == "linux"
PRELOADED = ["benchmarks.cli.train", "benchmarks.generate"]
PRELOADED += ["torch._dynamo"]  # which an optimizer imports
_CONTEXT = multiprocessing.get_context("forkserver" if FORKS else "spawn")
_CONTEXT.set_forkserver_preload(PRELOADED)


def start(
    call: Callable[..., object],
    *arguments: object,
    folder: Path | None = None,
    out: Path | None = None,
    err: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Call a function in a process of its own.

    Args:
        call: a function of a module.
        arguments: what it is called with.
        folder: the working directory; ours if there is none.
        out: the file that gets what it prints; it goes where ours went at the first start if there
            is none.
        err: the same for its errors and progress.
        environment: all its variables; ours if there are none. Those that a library reads when it
            is imported count as they were when the first process was started, but for
            ``OMP_NUM_THREADS``.

    The exit code of the process is that of the function where it exits, and 1 after an error, which
    is printed.
    """
    variables = dict(os.environ if environment is None else environment)
    where = (Path.cwd() if folder is None else folder, out, err)
    process: BaseProcess = _CONTEXT.Process(  # type: ignore[attr-defined]
        target=_become, args=(call, arguments, variables, *where)
    )
    process.start()
    return process


def benchmark(name: str, arguments: Sequence[str]) -> None:
    """Be ``python -m benchmarks.NAME`` with the arguments of a command line."""
    sys.argv = [f"benchmarks.{name}", *arguments]
    importlib.import_module("benchmarks.cli.train").main(name)


def _become(
    call: Callable[..., object],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    folder: Path,
    out: Path | None,
    err: Path | None,
) -> None:
    """Be the process that was asked for."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        if path is not None:
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(target, number)
            os.close(target)
    threads = environment.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and (torch := sys.modules.get("torch")):
        torch.set_num_threads(int(threads))  # which was imported before
    atexit._clear()  # what is to be done at the end of the process that is forked
    try:
        call(*arguments)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves without
