"""How long to train, on how much, and how the step sizes change."""

import itertools

import pytest
import torch

from benchmarks import models
from benchmarks.models import Network, assemble, lstm
from benchmarks.system.seeding import named_generator
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.tasks.task import Batch
from benchmarks.training.loop import initial_state, train
from benchmarks.training.optimizer import StepSizeFactor, make_optimizer
from benchmarks.training.settings import TrainSettings


class Endless(CopyMemory):
    """Copy memory as if its data came in epochs of seven batches."""

    def steps_per_epoch(self, batch_size):
        return 7


def test_epochs_become_steps():
    task = Endless(delay=3)
    settings = TrainSettings(batch_size=2, epochs=3).for_task(task)
    assert (settings.total, settings.every, settings.epochs) == (21, 7, None)
    settings = TrainSettings(batch_size=2, epochs=0.5, evaluate_every=5).for_task(task)
    assert (settings.total, settings.every) == (4, 5)
    settings = TrainSettings(batch_size=2, steps=9).for_task(task)
    assert (settings.total, settings.every) == (9, 7)
    assert TrainSettings(batch_size=2, epochs=1e-9).for_task(task).total == 1


def test_settings_that_do_not_fit_an_endless_task_are_refused():
    task = CopyMemory(delay=3)
    assert TrainSettings(batch_size=2, steps=9).for_task(task).every == 100
    with pytest.raises(ValueError, match="no epochs: give steps"):
        TrainSettings(batch_size=2, epochs=9).for_task(task)
    with pytest.raises(ValueError, match="no end: give evaluation_batches"):
        TrainSettings(batch_size=2, steps=9, evaluation_batches=None).for_task(task)
    with pytest.raises(ValueError, match="call for_task first"):
        _ = TrainSettings(batch_size=2, epochs=9).total


@pytest.mark.parametrize("lengths", [{}, {"steps": 3, "epochs": 2}])
def test_one_of_steps_and_epochs_must_be_given(lengths):
    with pytest.raises(ValueError, match="one of steps and epochs must be given"):
        TrainSettings(batch_size=2, **lengths)


def test_step_sizes_rise_stay_and_fall():
    factor = StepSizeFactor(steps=10, warmup=4, decay=0.3)
    expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 2 / 3, 1 / 3]
    assert [factor(step) for step in range(10)] == pytest.approx(expected)
    factor.halvings = 2
    assert factor(5) == 0.25


class Stalling(CopyMemory):
    """A task whose validation can not get better: every answer is scored by the same loss."""

    def held_out(self, split, batch_size, batches):
        yield Batch(
            torch.zeros(self.length, 1, self.input_size), torch.zeros(self.length, 1).long()
        )

    def loss(self, output, target):
        return output.sum() * 0 + 1


def begin(task, settings):
    model = assemble(
        lstm, Network(), hidden_size=3, input_size=task.input_size, output_size=task.output_size
    )
    optimizer = make_optimizer(model, torch.optim.Adam, lr=1.0, lr_ortho=0.1)
    return initial_state(model, optimizer, settings, named_generator(0, "training"))


def test_step_sizes_are_halved_when_validation_stalls_and_a_checkpoint_keeps_that():
    task = Stalling(delay=3, symbols=1)
    settings = TrainSettings(batch_size=2, steps=12, patience=2, evaluate_every=1)

    state = begin(task, settings)
    rates = [r["learning_rate"] for r in itertools.islice(train(state, task, settings), 8)]
    # the first evaluation is a best, every two stalled ones halve
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert (state.best_step, state.factor.halvings) == (1, 3)
    resumed = begin(task, settings)
    resumed.load_state_dict(state.state_dict())
    assert resumed.factor.halvings == 3
    again = [r["learning_rate"] for r in train(resumed, task, settings)]
    assert again == [r["learning_rate"] for r in train(state, task, settings)] != []


class Scripted(CopyMemory):
    """A task whose evaluations have the losses 3, 4, 2, 4, 1, 4."""

    def held_out(self, split, batch_size, batches):
        empty = torch.zeros(self.length, 1, self.input_size)
        yield Batch(empty, torch.full((self.length, 1), -1))

    def loss(self, output, target):
        if target[0, 0] == -1:
            SCRIPT.append(SCRIPT.pop(0))
            return torch.tensor(SCRIPT[-1])
        return super().loss(output, target)

    def score(self, output, target):
        return {"recall": 0.0}


SCRIPT = [3.0, 4.0, 2.0, 4.0, 1.0, 4.0]


def test_a_new_best_begins_the_count_anew():
    task = Scripted(delay=3, symbols=1)
    settings = TrainSettings(batch_size=2, steps=6, patience=2, evaluate_every=1)
    state = begin(task, settings)
    list(train(state, task, settings))
    assert (state.best_step, state.best_loss, state.factor.halvings) == (5, 1.0, 0)


@pytest.mark.parametrize("model", ["ortho", "exprnn", "ortho_free"])
@pytest.mark.parametrize("lr_modrelu", [0.0, 1e-3, None])
def test_the_bias_of_modrelu_has_the_step_size_that_it_is_given(model, lr_modrelu):
    sizes = {"input_size": 3, "hidden_size": 4, "output_size": 2}
    network = assemble(getattr(models, model), Network(), **sizes)
    rates = {"lr": 1e-2, "lr_ortho": 1e-4, "lr_modrelu": lr_modrelu}
    optimizer = make_optimizer(network, torch.optim.SGD, **rates)
    b, w = network.core.modrelu_bias_l0, network.core.weight_ih_l0
    before, w_before = b.detach().clone(), w.detach().clone()
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    expected = 1e-2 if lr_modrelu is None else lr_modrelu
    torch.testing.assert_close(before - b.detach(), torch.full_like(b, expected))
    torch.testing.assert_close(w_before - w.detach(), torch.full_like(w, 1e-2))
