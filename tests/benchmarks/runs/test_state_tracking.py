"""A run of state tracking: its course, what a stop changes, and what is measured at its end."""

import functools
import itertools
import json

import pytest
import torch

import orthornn
from benchmarks.diagnostics.horizon import accuracy_curve, follow, score_stream
from benchmarks.models import reduction
from benchmarks.records.text import stream_table
from benchmarks.runs import folder, recorder
from benchmarks.tasks.state_tracking import StateTracking
from benchmarks.training import loop
from tests.benchmarks.commandline import TINY, load

QUICK = [*TINY["state_tracking"], "logger=disabled", "train.batch_size=16", "model=switched_free"]
# parity, learned in a hundred steps, so that the course goes through its stages
STAGED = [*QUICK, "task.group=parity", "task.length=16", "train.steps=120", "optimizer.lr=3e-2"]


def test_the_course_is_in_the_records_and_the_best_weights_are_of_its_last_stage(command):
    (folder,) = command(*STAGED, "train.evaluate_every=10", name="state_tracking")
    about, records = load(folder)
    lengths = [record["length"] for record in records]
    assert sorted(set(lengths)) == [2, 4, 8, 16]
    assert lengths == sorted(lengths)
    step = torch.load(folder / "best.pt", weights_only=True)["step"]
    assert step >= lengths.index(16)
    assert about["test"]["accuracy_64"] > 0.9


def test_a_finished_run_returns_the_loss_that_it_returned_when_it_ended(command, monkeypatch):
    losses = itertools.chain([0.1], itertools.repeat(0.5))  # the first one is of words of 2
    evaluate = loop.evaluate
    monkeypatch.setattr(
        loop, "evaluate", lambda *a, **k: evaluate(*a, **k) | {"loss": next(losses)}
    )
    (path,) = command(*STAGED, "train.evaluate_every=10", name="state_tracking")
    about, records = load(path)
    assert records[9]["length"] == 2
    assert about["summary"]["best_validation_loss"] == 0.1
    assert torch.load(path / "best.pt", weights_only=True)["step"] > 10
    assert folder.best_loss(path) == 0.5
    (path / "metrics.jsonl").unlink()
    assert folder.best_loss(path) == 0.1


def without_time(records):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


@pytest.mark.parametrize("stop", [25, 60])
def test_a_run_that_was_stopped_within_a_stage_ends_as_one_that_was_not(command, monkeypatch, stop):
    (whole,) = command(*STAGED, "hydra.run.dir=whole", name="state_tracking")
    log = recorder.Recorder.log

    def interrupted(self, record):
        log(self, record)
        if record["step"] == stop:
            raise KeyboardInterrupt

    every = "train.checkpoint_every=10"
    monkeypatch.setattr(recorder.Recorder, "log", interrupted)
    with pytest.raises(SystemExit):
        command(*STAGED, every, "hydra.run.dir=parts", name="state_tracking")
    monkeypatch.setattr(recorder.Recorder, "log", log)
    parts, _ = command(*STAGED, every, "hydra.run.dir=parts", name="state_tracking")
    (about, records), (expected, unstopped) = load(parts), load(whole)
    assert about["resumed"][0]["step"] == (stop - 1) // 10 * 10
    assert without_time(records) == without_time(unstopped)
    assert about["test"] == expected["test"]
    weights = [torch.load(f / "checkpoint.pt", weights_only=True)["state"] for f in (parts, whole)]
    assert weights[0]["curriculum"] == weights[1]["curriculum"]
    for name, weight in weights[0]["model"].items():
        assert torch.equal(weight, weights[1]["model"][name])


def test_what_was_found_is_told_kept_and_compared(command, capsys):
    (folder,) = command(*QUICK, name="state_tracking")
    about, _ = load(folder)
    printed = capsys.readouterr().out
    assert "horizon" in printed
    assert "as trained" in printed
    assert about["test"].keys() >= {"horizon", "accuracy_64"}
    curve = about["curves"]["as trained"]
    assert curve["positions"][-1] == 64
    assert len(curve["positions"]) == len(curve["accuracies"])
    assert (folder / "accuracy.png").is_file()
    assert json.loads((folder / "run.json").read_text())["stream"]["trained_length"] == 256


class Forgetful(torch.nn.Module):
    """Names the state of parity, carried from piece to piece, up to a step; then the other one."""

    def __init__(self, right):
        super().__init__()
        self.right, self.unused = right, torch.nn.Parameter(torch.zeros(1))
        self.read = 0

    def forward(self, tokens, state=None):
        self.read += len(tokens)
        step, parity = (0, 0) if state is None else state
        states = (parity + tokens.cumsum(0)) % 2
        wrong = torch.arange(step, step + len(tokens)) >= self.right
        answers = torch.where(wrong.unsqueeze(1), 1 - states, states)
        output = torch.nn.functional.one_hot(answers, 2)
        return output, (step + len(tokens), states[-1])


@pytest.mark.parametrize(
    ("right", "horizon", "read"),
    [(700, 669, 4096), (5000, 4969, 4096 + 5 * 1024), (10_000, 9000, 4096 + 9000)],
)
def test_a_stream_is_read_until_the_model_is_lost(right, horizon, read):
    task = StateTracking(group="parity", test_length=4096, horizon_limit=9000)
    model = Forgetful(right)
    scores = score_stream(follow(model, task.stream), task.stream)
    assert scores["horizon"] == horizon
    assert model.read == read
    assert scores["accuracy_256"] == 1
    assert scores["accuracy_1024"] == pytest.approx(min(1, (right - 512) / 512))


def test_a_curve_has_stretches_that_grow_and_cover_every_step():
    shares = torch.linspace(1, 0, 1000, dtype=torch.float64)
    curve = accuracy_curve(shares)
    assert curve.positions == sorted(set(curve.positions))
    assert (curve.positions[0], curve.positions[-1]) == (1, 1000)
    weights = torch.tensor([0, *curve.positions]).diff()
    total = (weights * torch.tensor(curve.accuracies)).sum() / 1000
    assert total.item() == pytest.approx(0.5, abs=1e-3)


def test_the_table_has_a_row_for_a_reduced_model():
    metrics = {"horizon": {"show": ",.0f"}, "accuracy_64": {"show": ".1%"}}
    test = {"horizon": 1005.0, "accuracy_64": 1.0}
    reduced = {"reduced_size": 4.0, "reduced_horizon": 88_685.0, "reduced_accuracy_64": 0.5}
    stream = {"metrics": {**metrics, "reduced_horizon": {}}}
    assert stream_table(test, stream) == [
        "            horizon      64",
        "as trained    1,005  100.0%",
    ]
    assert stream_table(test | reduced, stream)[-1] == "reduced to 4   88,685   50.0%"


def test_a_switched_model_is_reduced_at_the_end(command, monkeypatch):
    at_any_gap = functools.partial(orthornn.reduce, threshold=0.9, min_gap=1.0)
    monkeypatch.setattr(reduction, "reduce", at_any_gap)  # a short training leaves no wide one
    sizes = ["model=switched", "model.hidden_size=4", "optimizer.lr=1e-2"]
    (folder,) = command(*STAGED, *sizes, name="state_tracking")
    about, _ = load(folder)
    test, curves = about["test"], about["curves"]
    assert set(curves) == {"as trained", "reduced"}
    assert test["reduced_size"] < 4
    assert test["reduced_horizon"] >= 0
    assert {f"reduced_{name}" for name in ("horizon", "accuracy_64", "size")} <= set(test)
    assert (folder / "states.png").exists() == (test["reduced_size"] == 3)


def test_a_model_without_a_gap_is_not_reduced_and_says_why(command, capsys):
    (folder,) = command(*QUICK, "model=switched", "model.hidden_size=2", name="state_tracking")
    assert "the model is not reduced: expected a gap" in capsys.readouterr().err
    assert "reduced_horizon" not in load(folder)[0]["test"]
