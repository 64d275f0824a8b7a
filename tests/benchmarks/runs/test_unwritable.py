"""A disk that is full, or a folder that is gone: one line, and the same command goes on later."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.runs import recorder
from benchmarks.runs import train as run
from benchmarks.system import atomic_files
from benchmarks.training import loop
from tests.benchmarks.commandline import TINY, load
from tests.benchmarks.stopped import LONGER, QUIET, assert_equal
from tests.faults.run_output import read_output

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stopped_by(command, capsys, *tiny):
    """The one line of a run that ends with an error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*tiny)
    assert stop.value.code == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.sampled(4)
@pytest.mark.parametrize("writes", [0, 2, 5, 21])
def test_a_full_disk_stops_a_run_that_ends_as_if_nothing_had_been(
    command, monkeypatch, capsys, writes
):
    done = 0

    def fill():
        nonlocal done
        done += 1
        if done > writes:
            raise FULL

    def fsync(descriptor, real=os.fsync):
        fill()
        real(descriptor)

    def write_all(file, content, real=atomic_files.write_all):
        try:
            fill()
        except OSError:
            real(file, content[: len(content) // 2])  # as a disk does
            raise
        real(file, content)

    tiny = [*TINY["copy"], *LONGER, QUIET]
    command(*tiny, "hydra.run.dir=whole")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(atomic_files, "write_all", write_all)
        line = stopped_by(command, capsys, *tiny, "hydra.run.dir=parts")
    assert line.startswith("error: parts")
    assert line.endswith("cannot be written: No space left on device")
    assert not list(Path("parts").glob(".*.tmp"))
    if Path("parts/run.json").exists():
        assert '"status": "running"' in Path("parts/run.json").read_text()
    command(*tiny, "hydra.run.dir=parts")
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))
    assert load(Path("parts"))[0]["status"] == "finished"


def test_a_run_is_not_finished_before_it_is_drawn(command, monkeypatch, capsys):
    tiny = [*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=here"]

    def full(path, figure):
        raise atomic_files.WriteError(path, FULL)

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "plot_run", lambda history, about, path: full(path, None))
        assert "here/loss.png" in stopped_by(command, capsys, *tiny)
    about = load(Path("here"))[0]
    assert about["status"] == "interrupted"
    assert "here/loss.png cannot be written" in about["error"]
    command(*tiny)
    assert load(Path("here"))[0]["status"] == "finished"
    assert Path("here/loss.png").exists()


def test_a_folder_that_is_removed_while_a_run_trains_ends_it(command, monkeypatch, capsys):
    def fit(*arguments):
        for record in loop.train(*arguments):
            yield record
            if record["step"] == 3:
                shutil.rmtree("here")

    monkeypatch.setattr(run, "fit", fit)
    line = stopped_by(command, capsys, *TINY["copy"], *LONGER, QUIET, "hydra.run.dir=here")
    assert "here/" in line
    assert line.endswith("cannot be written: No such file or directory")
    assert not Path("here").exists()


def test_a_screen_that_is_gone_ends_no_run(command, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(recorder, "print", gone, raising=False)
    command(*TINY["copy"], QUIET, "hydra.run.dir=here")
    assert load(Path("here"))[0]["status"] == "finished"
