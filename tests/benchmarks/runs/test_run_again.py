"""The same command again: what is finished is skipped, what failed is kept until asked for."""

import os
from pathlib import Path

import pytest

from benchmarks.runs import examination, folder, resume
from tests.benchmarks.commandline import TINY, load
from tests.benchmarks.stopped import QUIET


def test_a_finished_run_is_skipped_and_stays_as_it_is(command, capsys):
    (path,) = command(*TINY["copy"], QUIET)
    before = {p: p.stat().st_mtime_ns for p in path.iterdir() if p.name != ".lock"}
    capsys.readouterr()
    assert command(*TINY["copy"], QUIET, "threads=2", "train.checkpoint_every=1") == [path]
    assert {p: p.stat().st_mtime_ns for p in path.iterdir() if p.name != ".lock"} == before
    assert f"finished already: runs/copy/{path.name}" in capsys.readouterr().out
    for wrong in ("threads=0", "rerun=twice", "device=tpu", "seed=1.5"):
        with pytest.raises(SystemExit) as stop:
            command(*TINY["copy"], QUIET, wrong, "hydra.run.dir=" + str(path))
        assert stop.value.code == 2
        assert wrong.partition("=")[0] in capsys.readouterr().err
    assert len(command(*TINY["copy"], QUIET, "task.delay=6")) == 2


def test_an_agent_of_a_sweep_gets_the_records_of_a_finished_run(command, monkeypatch, capsys):
    class Heard(resume.ProgressBar):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            heard.append(options["done"])

    heard = []
    monkeypatch.setattr(resume, "ProgressBar", Heard)
    (path,) = command(*TINY["copy"], QUIET)
    before = contents_of_rows(path)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    command(*TINY["copy"], QUIET)
    assert heard == [0, 3]  # a logger that is told of three steps done catches up on them
    assert contents_of_rows(path) == before
    assert load(path)[0]["status"] == "finished"


def contents_of_rows(path):
    about, rows = load(path)
    return rows, about["test"], (path / "best.pt").read_bytes()


def test_redo_trains_anew_and_keeps_what_was(command):
    (path,) = command(*TINY["copy"], QUIET)
    before = contents_of_files(path)
    (path / "notes.txt").write_text("mine")
    for attempt in (1, 2):
        command(*TINY["copy"], QUIET, "rerun=all")
        assert load(path)[0]["status"] == "finished"
        assert len(load(path)[1]) == 3
        assert (path / "earlier" / str(attempt) / "run.json").exists()
    assert contents_of_files(path / "earlier" / "1") == before
    assert (path / "notes.txt").read_text() == "mine"


def contents_of_files(path):
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != ".lock"}


def test_a_failed_run_is_kept_with_its_traceback_and_tried_again_only_when_asked(
    command, monkeypatch, capsys
):
    def broken(*_):
        raise RuntimeError("no test today")

    tiny = [*TINY["copy"], QUIET, "hydra.run.dir=here"]
    with monkeypatch.context() as patch:
        patch.setattr(examination, "evaluate", broken)
        with pytest.raises(RuntimeError, match="no test today"):
            command(*tiny)
    about = load(Path("here"))[0]
    assert (about["status"], about["error"]) == ("failed", "RuntimeError: no test today")
    assert "in broken" in about["traceback"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*tiny)
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no test today" in line
    assert "rerun=failed" in line
    command(*tiny, "rerun=failed")
    about, rows = load(Path("here"))
    assert about["status"] == "finished"
    assert about["traceback"] is None
    assert about["resumed"][0]["step"] == len(rows) == 3
    assert about["resumed"][0]["machine"] == about["machine"]


def test_a_diverged_run_tried_again_diverges_at_the_same_step(command):
    tiny = [*TINY["copy"], QUIET, "model=rnn", "model.nonlinearity=relu", "optimizer.lr=1e30"]
    errors = []
    for rerun in ("none", "failed", "all"):
        with pytest.raises(SystemExit) as stop:
            command(*tiny, "train.steps=20", "hydra.run.dir=here", f"rerun={rerun}")
        assert stop.value.code == 1
        about, rows = load(Path("here"))
        errors.append((about["error"], [row["loss"] for row in rows]))
    assert errors[0] == errors[1] == errors[2]
    assert "at step" in errors[0][0]


def test_a_folder_that_holds_another_run_is_refused(command, capsys):
    command(*TINY["copy"], QUIET, "hydra.run.dir=here")
    for override, words in (("seed=4", "seed=0 there, 4 here"), ("task.delay=9", "task.delay=5")):
        with pytest.raises(SystemExit) as stop:
            command(*TINY["copy"], QUIET, "hydra.run.dir=here", override)
        assert stop.value.code == 2
        assert words in capsys.readouterr().err
    assert len(load(Path("here"))[1]) == 3


def test_a_run_that_another_process_writes_is_refused_at_once(command, capsys, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    with folder.locked(here), pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], QUIET, "hydra.run.dir=here")
    assert stop.value.code == 2
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
    command(*TINY["copy"], QUIET, "hydra.run.dir=here")
    assert load(here)[0]["status"] == "finished"


def test_an_attempt_that_was_half_set_aside_is_not_taken_up(command):
    (path,) = command(*TINY["copy"], QUIET)
    (path / "earlier" / "1").mkdir(parents=True)
    (path / "run.json").rename(path / "earlier" / "1" / "run.json")
    command(*TINY["copy"], QUIET)
    assert len(load(path)[1]) == 3
    assert (path / "earlier" / "2" / "metrics.jsonl").exists()


def test_a_logger_that_refuses_leaves_a_finished_run_where_it_was(command, monkeypatch, capsys):
    (path,) = command(*TINY["copy"], QUIET)
    before = contents_of_files(path)
    for key in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("NETRC", str(path.parent / "netrc"))
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], "logger=online", "rerun=all")
    assert stop.value.code == 2
    assert contents_of_files(path) == before
    assert not (path / "earlier").exists()
