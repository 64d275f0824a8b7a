"""A run that was stopped goes on bit for bit, or says in one line why it cannot."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from benchmarks.runs import build
from benchmarks.runs import train as run
from benchmarks.training import loop
from tests.benchmarks.commandline import TINY, load
from tests.benchmarks.stopped import LONGER, QUIET, assert_equal, leave_after
from tests.faults.run_output import read_output

pytestmark = pytest.mark.usefixtures("default_signals")


@pytest.mark.sampled(3)
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
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))
    about = load(Path("parts"))[0]
    assert (about["status"], about["error"]) == ("finished", None)
    assert [again["step"] for again in about["resumed"]] == [5]
    assert "from step 5 on" in capsys.readouterr().out


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("numbers", "saved"),
    [
        ([signal.SIGINT, signal.SIGINT], 2),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGINT], 2),
        ([signal.SIGINT, signal.SIGTERM], 4),
        ([signal.SIGTERM, signal.SIGINT], 4),  # of a sweep that a Ctrl-C reached first
        ([signal.SIGTERM, signal.SIGTERM], 4),
    ],
)
def test_a_second_interrupt_acts_at_once_and_saves_no_half_step(
    command, monkeypatch, numbers, saved
):
    real = torch.optim.Optimizer.zero_grad
    steps = []

    def send(self, *arguments):
        steps.append(1)
        if len(steps) == 4:
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.01)
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", send)
    with pytest.raises(SystemExit) as stop:
        command(*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=parts")
    assert stop.value.code == 128 + (numbers[0] if saved == 4 else signal.SIGINT)
    assert torch.load("parts/checkpoint.pt", weights_only=True)["state"]["step"] == saved
    command(*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=parts")
    command(*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=whole")
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))


def damage_checkpoints(path):
    for name in ("checkpoint.pt", "checkpoint-1.pt"):
        (path / name).write_bytes(b"PK")


def lose_rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join([lines[0], *lines[2:]]))


def damage_rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join([lines[0], "{\n", *lines[1:]]))


def lose_utf8(path):
    with (path / "metrics.jsonl").open("r+b") as file:
        file.seek(5)
        file.write(b"\xff")


def damage_about(path):
    (path / "run.json").write_text("{}")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "damage", [damage_checkpoints, lose_rows, damage_rows, lose_utf8, damage_about]
)
def test_what_cannot_be_resumed_is_one_line_and_stays(command, monkeypatch, capsys, damage):
    tiny = [*TINY["copy"], *LONGER, QUIET, "hydra.run.dir=here"]
    with monkeypatch.context() as patch:
        leave_after(patch, 5, signal.SIGTERM)
        with pytest.raises(SystemExit):
            command(*tiny)
    damage(Path("here"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*tiny)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "here/" in line
    assert "rerun=all" in line
    command(*tiny, "rerun=all")
    assert load(Path("here"))[0]["status"] == "finished"
    assert len(load(Path("here"))[1]) == 9


def test_other_data_under_the_same_name_are_refused(command, monkeypatch, capsys, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("A penny saved is a penny earned. " * 60, encoding="utf-8")
    tiny = [a for a in TINY["language"] if not a.startswith("data.name")]
    tiny += [*LONGER, QUIET, "data.path=text.txt", "hydra.run.dir=here"]
    with monkeypatch.context() as patch:
        leave_after(patch, 5, signal.SIGTERM)
        with pytest.raises(SystemExit):
            command(*tiny, name="language")
    text.write_text("a penny earned is A penny saved. " * 60, encoding="utf-8")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        command(*tiny, name="language")
    assert stop.value.code == 2
    assert "was begun with other data" in capsys.readouterr().err


def test_a_finished_run_of_a_text_that_has_changed_is_not_skipped(command, capsys, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("A penny saved is a penny earned. " * 60, encoding="utf-8")
    tiny = [a for a in TINY["language"] if not a.startswith("data.name")]
    tiny += [QUIET, "data.path=text.txt", "hydra.run.dir=here"]
    command(*tiny, name="language")
    text.write_text("a penny earned is A penny saved. " * 60, encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        command(*tiny, name="language")
    assert stop.value.code == 2
    assert "was begun with other data" in capsys.readouterr().err
    text.unlink()
    command(*tiny, name="language")
    assert "finished already" in capsys.readouterr().out


def test_a_resumed_run_takes_as_many_threads_as_before(command, monkeypatch):
    tiny = [*TINY["copy"], *LONGER, QUIET, "threads=auto", "hydra.run.dir=here"]
    monkeypatch.setattr(build, "choose_threads", lambda *_: 3)
    with monkeypatch.context() as patch:
        leave_after(patch, 5, signal.SIGTERM)
        with pytest.raises(SystemExit):
            command(*tiny)
    monkeypatch.setattr(build, "choose_threads", lambda *_: 2)
    command(*tiny)
    assert load(Path("here"))[0]["threads"] == 3


def test_a_run_stopped_before_its_first_checkpoint_begins_again_in_its_place(command, monkeypatch):
    def killed(*arguments):
        for record in loop.train(*arguments):
            yield record
            raise SystemExit(9)

    tiny = [*TINY["copy"], *LONGER, QUIET]
    with monkeypatch.context() as patch:
        patch.setattr(run, "fit", killed)
        with pytest.raises(SystemExit):
            command(*tiny, "hydra.run.dir=parts")
    assert not Path("parts/checkpoint.pt").exists()
    command(*tiny, "hydra.run.dir=parts")
    command(*tiny, "hydra.run.dir=whole")
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))
    assert not Path("parts/earlier").exists()


def test_a_run_that_diverged_is_saved_as_before_the_step(command, monkeypatch):
    def check(what, value, step, *error):
        if (what, step) == ("gradient norm", 5):
            raise loop.NonFiniteBatch("a bit of cosmic radiation")

    tiny = [*TINY["copy"], *LONGER, QUIET, "train.checkpoint_every=3"]
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_check_finite", check)
        with pytest.raises(SystemExit) as stop:
            command(*tiny, "hydra.run.dir=parts")
        assert stop.value.code == 1
    assert torch.load("parts/checkpoint.pt", weights_only=True)["state"]["step"] == 4
    command(*tiny, "hydra.run.dir=parts", "rerun=failed")
    command(*tiny, "hydra.run.dir=whole", "rerun=failed")  # as config.yaml has it
    assert_equal(read_output(Path("whole")), read_output(Path("parts")))
