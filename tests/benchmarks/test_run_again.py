"""The same command again: what is finished is skipped, what was stopped goes on bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import folder, run, train
from tests.benchmarks.commandline import CONF, TINY, load

QUIET = "logger=disabled"
LONGER = ["train.steps=9", "train.save_every=2", "train.evaluate_every=2", "train.diagnose_every=4"]


def leave_after(monkeypatch, step, number):
    """Let the process get a signal while it trains, once."""
    calls = []

    def fit(*arguments):
        for record in train.fit(*arguments):
            if record["step"] == step and not calls:
                calls.append(number)
                os.kill(os.getpid(), number)
            yield record

    monkeypatch.setattr(run, "fit", fit)


def contents(path):
    """What a run has left, less what is about time."""
    about, rows = load(path)
    saved = torch.load(path / "checkpoint.pt", weights_only=True)["state"]
    best = torch.load(path / "best.pt", weights_only=True)
    return {
        "rows": [{k: v for k, v in row.items() if k != "seconds"} for row in rows],
        "looks": (path / "gradients.jsonl").read_text(),
        "test": about["test"],
        "best": (best["step"], best["model"]),
        "state": {k: v for k, v in saved.items() if k != "seconds"},
    }


def assert_equal(a, b, where=""):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for k, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{k}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def test_a_finished_run_is_skipped_and_stays_as_it_is(command, capsys):
    (path,) = command(*TINY["copy"], QUIET)
    before = {p: p.stat().st_mtime_ns for p in path.iterdir() if p.name != ".lock"}
    capsys.readouterr()
    assert command(*TINY["copy"], QUIET, "threads=2", "train.save_every=1") == [path]
    assert {p: p.stat().st_mtime_ns for p in path.iterdir() if p.name != ".lock"} == before
    assert f"finished already: runs/copy/{path.name}" in capsys.readouterr().out
    assert len(command(*TINY["copy"], QUIET, "task.delay=6")) == 2


def test_an_agent_of_a_sweep_gets_the_records_of_a_finished_run(command, monkeypatch, capsys):
    class Heard(run.Progress):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            heard.append(options["done"])

    heard = []
    monkeypatch.setattr(run, "Progress", Heard)
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
    (path / "notes.txt").write_text("mine")
    before = contents_of_files(path)
    for attempt in (1, 2):
        command(*TINY["copy"], QUIET, "redo=all")
        assert load(path)[0]["status"] == "finished"
        assert len(load(path)[1]) == 3
        assert (path / "earlier" / str(attempt) / "run.json").exists()
    assert contents_of_files(path / "earlier" / "1") == before


def contents_of_files(path):
    return {p.name: p.read_bytes() for p in path.iterdir() if p.name != ".lock"}


@pytest.mark.parametrize(
    ("name", "number", "more"),
    [
        ("copy", signal.SIGINT, []),
        ("copy", signal.SIGHUP, ["model=exprnn", "optimizer=adam"]),
        ("copy", signal.SIGTERM, ["optimizer.algorithm.rows=0.5"]),
        ("adding", signal.SIGINT, ["model=gru"]),
        ("language", signal.SIGTERM, ["network.dropout=0.5", "network.num_layers=2"]),
        ("language", signal.SIGTERM, ["model=lstm", "train.patience=1"]),
        ("pixels", signal.SIGTERM, ["optimizer=muon"]),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(command, monkeypatch, capsys, name, more, number):
    tiny = [*TINY[name], *LONGER, *more, QUIET]
    command(*tiny, "hydra.run.dir=whole", name=name)
    leave_after(monkeypatch, 5, number)
    with pytest.raises(SystemExit) as stop:
        command(*tiny, "hydra.run.dir=parts", name=name)
    assert stop.value.code == 128 + number
    assert "stopping after this step" in capsys.readouterr().err
    about, rows = load(Path("parts"))
    assert about["status"] == "interrupted"
    assert len(rows) == torch.load("parts/checkpoint.pt", weights_only=True)["state"]["step"] == 5
    assert Path("parts/loss.png").exists()
    command(*tiny, "hydra.run.dir=parts", name=name)
    assert_equal(contents(Path("whole")), contents(Path("parts")))
    about = load(Path("parts"))[0]
    assert (about["status"], about["error"]) == ("finished", None)
    assert [again["step"] for again in about["resumed"]] == [5]
    assert "from step 5 on" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["copy", "language"])
def test_a_killed_run_goes_on_bit_for_bit(command, tmp_path, name):
    tiny = [*TINY[name], *LONGER, QUIET, "train.steps=150", "train.save_every=7"]
    tiny += ["train.diagnose_every=100", "train.evaluate_every=20"]
    command(*tiny, "hydra.run.dir=whole", name=name)
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}", *tiny, "hydra.run.dir=parts"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rows = tmp_path / "parts" / "metrics.jsonl"
    while not rows.exists() or rows.read_bytes().count(b"\n") < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert load(Path("parts"))[0]["status"] == "running"
    command(*tiny, "hydra.run.dir=parts", name=name)
    assert load(Path("parts"))[0]["resumed"][0]["step"] >= 14
    assert_equal(contents(Path("whole")), contents(Path("parts")))


def test_a_second_signal_acts_at_once_and_saves_no_half_step(command, monkeypatch):
    real = torch.optim.Optimizer.zero_grad
    steps = []

    def twice(self, *arguments):
        steps.append(1)
        if len(steps) == 4:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", twice)
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=parts")
    assert stop.value.code == 130
    assert torch.load("parts/checkpoint.pt", weights_only=True)["state"]["step"] == 2
    command(*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=parts")
    command(*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=whole")
    assert_equal(contents(Path("whole")), contents(Path("parts")))


def test_a_failed_run_is_kept_with_its_traceback_and_tried_again_only_when_asked(
    command, monkeypatch, capsys
):
    def broken(*_):
        raise RuntimeError("no test today")

    tiny = [*TINY["copy"], QUIET, "hydra.run.dir=here"]
    with monkeypatch.context() as patch:
        patch.setattr(run, "evaluate", broken)
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
    assert "redo=failed" in line
    command(*tiny, "redo=failed")
    about, rows = load(Path("here"))
    assert about["status"] == "finished"
    assert about["traceback"] is None
    assert about["resumed"][0]["step"] == len(rows) == 3


def test_a_diverged_run_tried_again_diverges_at_the_same_step(command):
    tiny = [*TINY["copy"], QUIET, "model=rnn", "model.nonlinearity=relu", "optimizer.lr=1e30"]
    errors = []
    for redo in ("none", "failed", "all"):
        with pytest.raises(SystemExit) as stop:
            command(*tiny, "train.steps=20", "hydra.run.dir=here", f"redo={redo}")
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


def damage_checkpoint(path):
    (path / "checkpoint.pt").write_bytes(b"PK")


def lose_rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join([lines[0], *lines[2:]]))


def damage_rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join([lines[0], "{\n", *lines[1:]]))


def damage_about(path):
    (path / "run.json").write_text("{}")


@pytest.mark.parametrize("damage", [damage_checkpoint, lose_rows, damage_rows, damage_about])
def test_what_cannot_be_resumed_is_one_line_and_stays(command, monkeypatch, capsys, damage):
    tiny = [*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=here"]
    with monkeypatch.context() as patch:
        leave_after(patch, 5, signal.SIGTERM)
        with pytest.raises(SystemExit):
            command(*tiny)
    damage(Path("here"))
    rows = Path("here/metrics.jsonl").read_text()
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*tiny)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "here/" in line
    assert "redo=all" in line
    assert sorted(json.loads(row)["step"] for row in rows.splitlines() if len(row) > 1)
    command(*tiny, "redo=all")
    assert load(Path("here"))[0]["status"] == "finished"
