"""Python code in a process of its own that need not import torch again: a fork of one that has."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import forks


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
        given = {**os.environ, **environment}
        main = {"__name__": "__main__"}
        process = forks.start(exec, code, main, out=out, err=err, environment=given)
        process.join()
        return Done(process.exitcode, out.read_text(), err.read_text())
