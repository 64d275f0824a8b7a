import functools
import itertools
import math

import pytest
import torch

from benchmarks import models
from benchmarks.models import Network, assemble
from benchmarks.runs import checkpoints
from benchmarks.system.seeding import named_generator
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.tasks.task import Batch
from benchmarks.training.loop import TrainingDiverged, evaluate, initial_state, train
from benchmarks.training.optimizer import make_optimizer
from benchmarks.training.settings import TrainSettings
from orthornn import RiemannianAdam, RiemannianRMSprop

TASK = CopyMemory(delay=4, symbols=2)


def build(model, hidden_size=12):
    sizes = {"input_size": TASK.input_size, "output_size": TASK.output_size}
    return assemble(getattr(models, model), Network(), hidden_size=hidden_size, **sizes)


def new_state(settings, kind=RiemannianRMSprop, model="ortho", lr=1e-2):
    torch.manual_seed(0)
    network = build(model)
    optimizer = make_optimizer(network, kind, lr=lr, lr_ortho=1e-3)
    return initial_state(network, optimizer, settings, named_generator(0, "training"))


def without_time(records):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


@pytest.mark.parametrize("model", ["ortho", "lstm"])
def test_one_record_per_step_with_all_that_was_promised(model):
    settings = TrainSettings(steps=7, batch_size=8, evaluate_every=3)
    records = list(train(new_state(settings, model=model), TASK, settings))
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6, 7]
    assert all(math.isfinite(v) for r in records for v in r.values())
    names = {"step", "loss", "recall", "gradient_norm", "seconds"}
    names |= {"orthogonality_error"} if model == "ortho" else set()
    assert all(names <= set(r) for r in records)
    evaluated = [r["step"] for r in records if {"validation_loss", "validation_recall"} <= set(r)]
    assert evaluated == [3, 6, 7]


def test_training_learns():
    settings = TrainSettings(steps=150, batch_size=32)
    records = list(train(new_state(settings), TASK, settings))
    assert records[-1]["loss"] < TASK.baseline / 4
    assert max(r["orthogonality_error"] for r in records) < 1e-5


def test_evaluation_set_is_fixed_and_does_not_disturb_training():
    often, seldom = (TrainSettings(steps=6, batch_size=8, evaluate_every=every) for every in (1, 6))
    a, b = (list(train(new_state(s), TASK, s)) for s in (often, seldom))
    assert [r["loss"] for r in a] == [r["loss"] for r in b]
    assert a[-1]["validation_loss"] == b[-1]["validation_loss"]


@pytest.mark.parametrize(
    "kind",
    [
        RiemannianRMSprop,
        functools.partial(RiemannianRMSprop, momentum=0.5),
        RiemannianAdam,
    ],
)
def test_a_loaded_checkpoint_continues_bit_for_bit(tmp_path, kind):
    settings = TrainSettings(steps=12, batch_size=8, decay_fraction=0.5)
    state = new_state(settings, kind)
    list(itertools.islice(train(state, TASK, settings), 5))
    checkpoints.write_file(tmp_path / "c.pt", {"state": state.state_dict()})
    rest = list(train(state, TASK, settings))

    resumed = new_state(settings, kind)
    list(itertools.islice(train(resumed, TASK, settings), 2))  # whatever it held is overwritten
    resumed.load_state_dict(checkpoints.read_file(tmp_path / "c.pt")["state"])
    again = list(train(resumed, TASK, settings))
    assert without_time(again) == without_time(rest)
    assert [r["step"] for r in again] == [6, 7, 8, 9, 10, 11, 12]
    for a, b in zip(state.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_rates_fall_to_zero_over_the_last_share():
    settings = TrainSettings(steps=10, batch_size=2, decay_fraction=0.4)
    state = new_state(settings)
    rates = [state.optimizer.param_groups[0]["lr"] for _ in train(state, TASK, settings)]
    expected = [1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]  # after each step
    assert rates == pytest.approx([1e-2 * f for f in expected])


def test_clipping_bounds_the_step_and_reports_the_norm_before():
    settings = TrainSettings(steps=1, batch_size=8, clip_grad_norm=1e-3)
    state = new_state(settings, functools.partial(torch.optim.SGD), model="rnn", lr=1.0)
    before = [p.detach().clone() for p in state.model.parameters()]
    (record,) = train(state, TASK, settings)
    moved = sum(
        (p - q).square().sum() for p, q in zip(state.model.parameters(), before, strict=True)
    )
    assert moved.sqrt().item() == pytest.approx(1e-3, rel=1e-2)
    assert record["gradient_norm"] > 1e-2


def test_without_clipping_a_huge_gradient_is_left_alone():
    settings = TrainSettings(steps=1, batch_size=8)
    state = new_state(settings, torch.optim.SGD, model="rnn", lr=1e-30)
    state.model.readout.weight.register_hook(lambda g: 1e25 * g)
    with pytest.raises(TrainingDiverged, match="gradient norm is inf at step 1"):
        list(train(state, TASK, settings))
    assert state.model.readout.weight.grad.isfinite().all()


@pytest.mark.parametrize("batches", [1, 6, 7, 10])
def test_a_perfect_evaluation_is_exactly_perfect(batches):
    class Oracle(torch.nn.Module):
        def forward(self, x, state):
            answer = torch.nn.functional.one_hot(self.answers.pop(0), TASK.output_size)
            return 50 * answer.float(), None

    settings = TrainSettings(steps=1, batch_size=8, evaluation_batches=batches)
    oracle = Oracle()
    oracle.answers = [batch.target for batch in TASK.held_out("test", 8, batches)]
    assert evaluate(oracle, TASK, settings, "test")["recall"] == 1.0


def test_every_entry_of_a_held_out_set_weighs_the_same():
    class Uneven(CopyMemory):
        def held_out(self, split, batch_size, batches):
            for size in (1, 5):
                yield self.draw(size, torch.Generator().manual_seed(size))

    task = Uneven(delay=4, symbols=2)
    state = new_state(TrainSettings(steps=1, batch_size=8))
    scores = evaluate(state.model, task, TrainSettings(steps=1, batch_size=8))
    whole = [task.draw(size, torch.Generator().manual_seed(size)) for size in (1, 5)]
    both = [torch.cat([getattr(b, n) for b in whole], 1) for n in ("input", "target")]
    assert scores["loss"] == pytest.approx(task.loss(state.model(both[0])[0], both[1]).item())


def test_dropout_is_off_in_evaluation_and_on_in_training():
    settings = TrainSettings(steps=1, batch_size=8)
    state = new_state(settings)
    state.model.dropout.p = 0.5
    state.model.train()
    assert evaluate(state.model, TASK, settings) == evaluate(state.model, TASK, settings)
    list(train(state, TASK, TrainSettings(steps=1, batch_size=8, evaluate_every=5)))
    seen = []
    state = new_state(TrainSettings(steps=2, batch_size=8))
    state.model.register_forward_hook(lambda model, *_: seen.append(model.training))
    list(train(state, TASK, TrainSettings(steps=2, batch_size=8, evaluate_every=1)))
    assert seen == [True, *[False] * 4, True, *[False] * 4]


def test_divergence_stops_the_run_with_the_step_named():
    settings = TrainSettings(steps=5, batch_size=2)
    state = new_state(settings)
    run = train(state, TASK, settings)
    next(run)
    state.model.readout.weight.data.fill_(float("inf"))
    with pytest.raises(TrainingDiverged, match="at step 2"):
        next(run)
    assert state.step == 1


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"batch_size": -1}, {"clip_grad_norm": 0}, {"decay_fraction": float("nan")}],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainSettings(**{"steps": 1, "batch_size": 1, **wrong})


@pytest.mark.parametrize("lr", [0, -1.0, float("nan"), float("inf"), "fast", True])
def test_learning_rates_are_checked(lr):
    network = build("ortho", 4)
    for name in ("lr",) if lr == 0 else ("lr", "lr_ortho", "lr_modrelu"):
        rates = {"lr": 1e-3, "lr_ortho": 1e-3, "lr_modrelu": None, name: lr}
        with pytest.raises(ValueError, match=f"{name} must be"):
            make_optimizer(network, RiemannianRMSprop, **rates)


@pytest.mark.parametrize("model", ["ortho", "ortho_soft", "ortho_free", "exprnn", "householder"])
def test_with_a_rate_of_zero_the_recurrent_weight_is_frozen(model):
    network = build(model, 4)
    optimizer = make_optimizer(network, RiemannianRMSprop, lr=1e-2, lr_ortho=0)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for p in network.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    still = [name for name, p in network.named_parameters() if torch.equal(p, before[name])]
    (frozen,) = still
    assert "weight_hh_l0" in frozen


class Carried(CopyMemory):
    """Copy memory whose batches, all but every third, go on where the one before ended."""

    def training(self, batch_size, step, generator):
        return self.draw(batch_size, generator)._replace(carries_state=step % 3 > 0)

    def held_out(self, split, batch_size, batches):
        for k, batch in enumerate(super().held_out(split, batch_size, batches)):
            yield batch._replace(carries_state=k > 0)


@pytest.mark.parametrize("model", ["ortho", "lstm"])
def test_the_state_is_carried_over_where_batches_continue(model):
    task = Carried(delay=3, symbols=1)
    settings = TrainSettings(steps=4, batch_size=2)
    torch.manual_seed(0)
    sizes = {"input_size": task.input_size, "output_size": task.output_size}
    network = assemble(getattr(models, model), Network(), hidden_size=5, **sizes)
    given, returned = [], []

    def note(module, arguments, result):
        given.append(arguments[1])
        returned.append(result[1])

    network.register_forward_hook(note)
    state = initial_state(
        network,
        make_optimizer(network, RiemannianAdam, lr=1e-3, lr_ortho=1e-3),
        settings,
        named_generator(0, "training"),
    )

    def same(a, b):
        pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
        return all(torch.equal(x, y) and not x.requires_grad for x, y in pairs)

    list(itertools.islice(train(state, task, settings), 3))
    assert given[0] is None
    assert same(given[1], returned[0])
    assert same(given[2], returned[1])
    list(train(state, task, settings))
    assert given[3] is None
    assert given[4] is None  # the evaluation begins anew
    assert same(given[5], returned[4])


def test_a_checkpoint_keeps_what_is_carried(tmp_path):
    task = Carried(delay=3, symbols=1)
    settings = TrainSettings(steps=6, batch_size=2)

    def begin():
        torch.manual_seed(0)
        sizes = {"input_size": task.input_size, "output_size": task.output_size}
        network = assemble(models.lstm, Network(dropout=0.2), hidden_size=5, **sizes)
        optimizer = make_optimizer(network, RiemannianAdam, lr=1e-2, lr_ortho=1e-3)
        return initial_state(network, optimizer, settings, named_generator(0, "training"))

    state = begin()
    list(itertools.islice(train(state, task, settings), 2))
    checkpoints.write_file(tmp_path / "c.pt", state.state_dict())
    rest = without_time(train(state, task, settings))
    resumed = begin()
    resumed.load_state_dict(checkpoints.read_file(tmp_path / "c.pt"))
    assert without_time(train(resumed, task, settings)) == rest


def test_the_penalty_is_minimised_but_is_not_part_of_the_loss():
    settings = TrainSettings(steps=1, batch_size=8)
    state = new_state(settings, torch.optim.SGD, model="ortho_soft")
    state.model.core.strength = 3.0
    with torch.no_grad():
        state.model.core.weight_hh_l0.mul_(1.5)
    twin = new_state(settings, torch.optim.SGD, model="ortho_free")
    with torch.no_grad():
        twin.model.core.weight_hh_l0.mul_(1.5)
    (record,), (plain,) = train(state, TASK, settings), train(twin, TASK, settings)
    assert record["loss"] == plain["loss"]
    assert "penalty" not in plain
    assert record["penalty"] == pytest.approx(3 * 12 * 1.25**2, rel=1e-5)  # (1.5² - 1)² on 12 axes
    slow = state.model.core.weight_hh_l0 - twin.model.core.weight_hh_l0
    w = 1.5 * new_state(settings, model="ortho_free").model.core.weight_hh_l0.detach()
    expected = (
        -1e-3 * 3 * 4 * w @ (w.T @ w - torch.eye(12))
    )  # d/dW of s |WW' - I|² is 4 s W (W'W - I)
    torch.testing.assert_close(slow.detach(), expected, rtol=1e-3, atol=1e-6)


def test_a_validation_that_is_not_finite_stops_the_run():
    class Broken(CopyMemory):
        def held_out(self, split, batch_size, batches):
            for batch in super().held_out(split, batch_size, batches):
                yield Batch(batch.input * float("nan"), batch.target)

    settings = TrainSettings(steps=3, batch_size=2, evaluate_every=2)
    run = train(new_state(settings), Broken(delay=4, symbols=2), settings)
    next(run)
    with pytest.raises(TrainingDiverged, match="validation loss is nan at step 2"):
        next(run)
