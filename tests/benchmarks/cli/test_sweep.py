"""Sweeps: all jobs are tried, what is done is not done again, and progress is told."""

import os
import re
import signal
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from benchmarks.cli import sweep
from benchmarks.cli.sweep import SweepProgress, count_jobs, duration, workers
from benchmarks.runs import examination, folder
from benchmarks.runs import train as run
from benchmarks.training import loop
from tests.benchmarks.commandline import TINY, load

pytestmark = pytest.mark.usefixtures("default_signals")

QUIET = "logger=disabled"
DIVERGING = ["model.nonlinearity=relu", "train.steps=20"]


def sweep_config(*overrides, number=0, sweeper=None, launcher=None):
    return OmegaConf.create(
        {
            "hydra": {
                "overrides": {"task": list(overrides)},
                "sweeper": sweeper or {},
                "launcher": launcher or {},
                "sweep": {"dir": "runs"},
                "job": {"num": number},
            }
        }
    )


def test_a_sweep_goes_on_after_a_run_that_diverges(command, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        command("-m", *TINY["copy"], QUIET, "model=rnn", *DIVERGING, "optimizer.lr=1e30,1e-3")
    assert stop.value.code == 1
    found = [load(path.parent)[0] for path in tmp_path.rglob("run.json")]
    assert sorted(about["status"] for about in found) == ["failed", "finished"]
    assert "error: the loss is" in capsys.readouterr().err


def test_a_sweep_goes_on_after_a_setting_that_cannot_be_run(command, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        command("-m", *TINY["copy"], QUIET, "model.retraction=qrr,polar")
    assert stop.value.code == 2
    (path,) = tmp_path.rglob("run.json")
    assert load(path.parent)[0]["config"]["model"]["retraction"] == "polar"
    assert "retraction must be one of" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "runs" / "copy").iterdir()} == {
        path.parent.name,
        "multirun.yaml",
    }


def test_a_sweep_goes_on_after_an_error_that_nobody_foresaw(command, monkeypatch, capsys):
    real = examination.evaluate
    calls = []

    def broken(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("no test today")
        return real(*arguments)

    monkeypatch.setattr(examination, "evaluate", broken)
    with pytest.raises(SystemExit) as stop:
        command("-m", *TINY["copy"], QUIET, "seed=0,1")
    assert stop.value.code == 1
    assert len(calls) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_that_was_stopped_goes_on_where_it_was(command, monkeypatch, capsys, tmp_path):
    begun = []

    def fit(*arguments):
        begun.append(arguments[0].step)
        for record in loop.train(*arguments):
            if len(begun) == 2 and record["step"] == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield record

    monkeypatch.setattr(run, "fit", fit)
    jobs = ["-m", *TINY["copy"], QUIET, "model=ortho,gru", "seed=0,1"]
    with pytest.raises(SystemExit) as stop:
        command(*jobs)
    assert stop.value.code == 130
    assert len(begun) == 2
    folders = command(*jobs)
    assert begun == [0, 0, 2, 0, 0]
    assert capsys.readouterr().out.count("finished already") == 1
    assert len(folders) == 4
    assert all(load(path)[0]["status"] == "finished" for path in folders)
    assert command(*jobs) == folders
    assert len(begun) == 5


def test_a_run_that_another_sweep_is_at_is_left_to_it(command, capsys, tmp_path):
    folders = command("-m", *TINY["copy"], QUIET, "seed=0,1")
    with folder.locked(folders[0]):
        command("-m", *TINY["copy"], QUIET, "seed=0,1", "rerun=all")
    assert "left alone" in capsys.readouterr().out
    assert [(path / "earlier").exists() for path in folders] == [False, True]


def test_a_sweep_says_which_run_of_how_many_and_how_long_is_left(command, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "MIN_SECONDS", 0)
    command("-m", *TINY["copy"], QUIET, "seed=0,1,2")
    told = re.findall(r"^run (\d) of (\d)(, about .*left)?: (.*)$", capsys.readouterr().err, re.M)
    assert [(a, b, what) for a, b, _, what in told] == [
        ("1", "3", "seed=0"),
        ("2", "3", "seed=1"),
        ("3", "3", "seed=2"),
    ]
    assert [bool(left) for _, _, left, _ in told] == [False, True, True]


def test_a_single_run_says_nothing_of_it(command, capsys):
    command(*TINY["copy"], QUIET)
    assert "run 1 of" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "jobs"),
    [
        (["seed=0,1,2", "model=ortho,rnn", "task.delay=5"], 6),
        (["seed=range(0,10)"], 10),
        (["optimizer.lr=choice(1,2,3)", "optimizer.algorithm.betas=[0.9,0.99]"], 3),
        (["task.delay=5"], 1),
    ],
)
def test_jobs_of_a_sweep_are_counted(overrides, jobs):
    assert count_jobs(sweep_config(*overrides)) == jobs


def test_jobs_of_a_search_are_its_trials():
    assert count_jobs(sweep_config("seed=0", sweeper={"n_trials": 7})) == 7


class Clock:
    """The clock that sweep.py reads."""

    def __init__(self, monkeypatch):
        self.seconds = 1000.0
        monkeypatch.setattr(sweep, "time", SimpleNamespace(time=lambda: self.seconds))

    def pass_by(self, seconds):
        self.seconds += seconds


def test_side_by_side_the_time_left_follows_from_the_jobs_that_have_ended(monkeypatch):
    clock = Clock(monkeypatch)
    progress = SweepProgress()
    progress.on_multirun_start(sweep_config("seed=range(0,10)"))
    assert progress._left(3, 4) is None
    clock.pass_by(60)  # the fifth job starts: one has ended
    assert progress._left(4, 4) == pytest.approx(60 * 9)
    clock.pass_by(60)
    assert progress._left(9, 4) == pytest.approx(120 / 6 * 4)


def test_runs_that_were_skipped_say_nothing_of_the_time_left(monkeypatch):
    clock = Clock(monkeypatch)
    progress = SweepProgress()
    progress.on_multirun_start(sweep_config("seed=range(0,5)"))
    for number, lasts in enumerate((0.1, 30, 50)):
        progress.on_job_start(sweep_config(number=number))
        clock.pass_by(lasts)
        progress.on_job_end(sweep_config(number=number), None)
    assert progress._left(3, 1) == pytest.approx(80)


@pytest.mark.parametrize(
    ("launcher", "count"),
    [({}, 1), ({"n_jobs": 3}, 3), ({"n_jobs": -1}, 8), ({"n_jobs": -2}, 7), ({"n_jobs": None}, 1)],
)
def test_workers_are_counted_as_joblib_does(monkeypatch, launcher, count):
    monkeypatch.setattr(sweep.os, "cpu_count", lambda: 8)
    assert workers(sweep_config(launcher=launcher)) == count


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "about 1 s"), (75, "about 75 s"), (600, "about 10 min"), (9000, "about 2.5 h")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
