"""Python code in a process of its own that need not import torch again: a fork of one that has."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from . import forks


class Done(NamedTuple):
    """What a process left."""

    returncode: int
    stdout: str
    stderr: str


def python(code, *arguments, environment=None, patience=120):
    """Run code as ``python -c`` would, with all variables of its environment, and wait for its end.

    orthornn and the benchmarks are imported already, but nothing of them has been used.
    """
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        whole = f"import sys; sys.argv = {['-c', *arguments]!r}\n{code}"
        main = {"__name__": "__main__"}
        process = forks.start(exec, whole, main, out=out, err=err, environment=environment)
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(err.read_text())
        return Done(process.exitcode, out.read_text(), err.read_text())
