"""Python code in a process of its own that need not import torch again: a fork of one that has."""

import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

_forks = multiprocessing.get_context("forkserver")
# one server serves all tests of a process, so this is what benchmarks.faults.starting asks for
_forks.set_forkserver_preload(["benchmarks.run", "benchmarks.generate"])


class Done(NamedTuple):
    """What a process left."""

    returncode: int
    stdout: str
    stderr: str


def python(code, **environment):
    """Run code as ``python -c`` would, with more environment variables, and wait for its end.

    orthornn is imported already, but nothing of it has been used.
    """
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _forks.Process(
            target=_become, args=(code, {**os.environ, **environment}, out, err)
        )
        process.start()
        process.join()
        return Done(process.exitcode, out.read_text(), err.read_text())


def _become(code, environment, out, err):
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        target = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(target, number)
        os.close(target)
    sys.argv = ["-c"]
    exec(code, {"__name__": "__main__"})
