import functools
import itertools
import math

import pytest
import torch

from benchmarks import checkpoint, models
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.train import (
    Settings,
    TrainingDiverged,
    evaluate,
    fit,
    make_optimizer,
    start,
    stream,
)
from orthornn import RiemannianAdam, RiemannianRMSprop

TASK = CopyMemory(delay=4, symbols=2)


def new_state(settings, kind=RiemannianRMSprop, model="ortho", lr=1e-2):
    torch.manual_seed(0)
    network = getattr(models, model)(TASK.input_size, TASK.output_size, 12)
    optimizer = make_optimizer(network, kind, lr=lr, lr_ortho=1e-3)
    return start(network, optimizer, settings, stream(0, "training"))


def without_time(records):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


@pytest.mark.parametrize("model", ["ortho", "lstm"])
def test_one_record_per_step_with_all_that_was_promised(model):
    settings = Settings(steps=7, batch_size=8, evaluate_every=3)
    records = list(fit(new_state(settings, model=model), TASK, settings))
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6, 7]
    assert all(math.isfinite(v) for r in records for v in r.values())
    names = {"step", "loss", "recall", "gradient_norm", "seconds"}
    names |= {"orthogonality_error"} if model == "ortho" else set()
    assert all(names <= set(r) for r in records)
    evaluated = [r["step"] for r in records if {"evaluation_loss", "evaluation_recall"} <= set(r)]
    assert evaluated == [3, 6, 7]


def test_training_learns():
    settings = Settings(steps=150, batch_size=32)
    records = list(fit(new_state(settings), TASK, settings))
    assert records[-1]["loss"] < TASK.baseline / 4
    assert max(r["orthogonality_error"] for r in records) < 1e-5


def test_evaluation_set_is_fixed_and_does_not_disturb_training():
    often, seldom = (Settings(steps=6, batch_size=8, evaluate_every=every) for every in (1, 6))
    a, b = (list(fit(new_state(s), TASK, s)) for s in (often, seldom))
    assert [r["loss"] for r in a] == [r["loss"] for r in b]
    assert a[-1]["evaluation_loss"] == b[-1]["evaluation_loss"]


@pytest.mark.parametrize(
    "kind",
    [
        RiemannianRMSprop,
        functools.partial(RiemannianRMSprop, momentum=0.5),
        RiemannianAdam,
    ],
)
def test_a_loaded_checkpoint_continues_bit_for_bit(tmp_path, kind):
    settings = Settings(steps=12, batch_size=8, decay=0.5)
    state = new_state(settings, kind)
    list(itertools.islice(fit(state, TASK, settings), 5))
    checkpoint.save(tmp_path / "c.pt", {"state": state.state_dict()})
    rest = list(fit(state, TASK, settings))

    resumed = new_state(settings, kind)
    list(itertools.islice(fit(resumed, TASK, settings), 2))  # whatever it held is overwritten
    resumed.load_state_dict(checkpoint.load(tmp_path / "c.pt")["state"])
    again = list(fit(resumed, TASK, settings))
    assert without_time(again) == without_time(rest)
    assert [r["step"] for r in again] == [6, 7, 8, 9, 10, 11, 12]
    for a, b in zip(state.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_rates_fall_to_zero_over_the_last_share():
    settings = Settings(steps=10, batch_size=2, decay=0.4)
    state = new_state(settings)
    rates = [state.optimizer.param_groups[0]["lr"] for _ in fit(state, TASK, settings)]
    expected = [1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]  # after each step
    assert rates == pytest.approx([1e-2 * f for f in expected])


def test_clipping_bounds_the_step_and_reports_the_norm_before():
    settings = Settings(steps=1, batch_size=8, clip=1e-3)
    state = new_state(settings, functools.partial(torch.optim.SGD), model="rnn", lr=1.0)
    before = [p.detach().clone() for p in state.model.parameters()]
    (record,) = fit(state, TASK, settings)
    moved = sum(
        (p - q).square().sum() for p, q in zip(state.model.parameters(), before, strict=True)
    )
    assert moved.sqrt().item() == pytest.approx(1e-3, rel=1e-2)
    assert record["gradient_norm"] > 1e-2


def test_without_clipping_a_huge_gradient_is_left_alone():
    settings = Settings(steps=1, batch_size=8)
    state = new_state(settings, torch.optim.SGD, model="rnn", lr=1e-30)
    state.model.readout.weight.register_hook(lambda g: 1e25 * g)
    with pytest.raises(TrainingDiverged, match="gradient norm is inf at step 1"):
        list(fit(state, TASK, settings))
    assert state.model.readout.weight.grad.isfinite().all()


@pytest.mark.parametrize("batches", [1, 6, 7, 10])
def test_a_perfect_evaluation_is_exactly_perfect(batches):
    class Oracle(torch.nn.Module):
        def forward(self, x):
            return 50 * torch.nn.functional.one_hot(self.answers.pop(0), TASK.output_size).float()

    settings = Settings(steps=1, batch_size=8, evaluation_batches=batches)
    generator = stream(3, "evaluation")
    oracle = Oracle()
    oracle.answers = [TASK.draw(8, generator).target for _ in range(batches)]
    assert evaluate(oracle, TASK, settings, 3)["evaluation_recall"] == 1.0


def test_divergence_stops_the_run_with_the_step_named():
    settings = Settings(steps=5, batch_size=2)
    state = new_state(settings)
    run = fit(state, TASK, settings)
    next(run)
    state.model.readout.weight.data.fill_(float("inf"))
    with pytest.raises(TrainingDiverged, match="at step 2"):
        next(run)
    assert state.step == 1


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"batch_size": -1}, {"clip": 0}, {"decay": 1.5}, {"decay": float("nan")}],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**{"steps": 1, "batch_size": 1, **wrong})


@pytest.mark.parametrize("lr", [0, -1.0, float("nan"), float("inf"), "fast", True])
def test_learning_rates_are_checked(lr):
    network = models.ortho(10, 9, 4)
    for name in ("lr",) if lr == 0 else ("lr", "lr_ortho"):
        rates = {"lr": 1e-3, "lr_ortho": 1e-3, name: lr}
        with pytest.raises(ValueError, match=f"{name} must be"):
            make_optimizer(network, RiemannianRMSprop, **rates)


def test_with_a_rate_of_zero_the_recurrent_weight_is_frozen():
    network = models.ortho(10, 9, 4)
    optimizer = make_optimizer(network, RiemannianRMSprop, lr=1e-2, lr_ortho=0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    still = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    assert [name.rpartition(".")[2] for name in still] == ["weight_hh_l0"]


def test_checkpoint_replaces_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "c.pt"
    for value in (1, 2):
        checkpoint.save(path, {"value": value})
    assert checkpoint.load(path) == {"value": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_failed_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"value": 1})

    def broken(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"value": 2})
    assert checkpoint.load(path) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
