"""How long to train, on how much, and how the step sizes change."""

import itertools

import pytest
import torch

from benchmarks.models import Network, assemble, lstm
from benchmarks.optimizer import StepSizeFactor, make_optimizer
from benchmarks.settings import Settings
from benchmarks.streams import stream
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.tasks.task import Batch
from benchmarks.train import fit, start


class Endless(CopyMemory):
    """Copy memory as if its data came in epochs of seven batches."""

    def steps_per_epoch(self, batch_size):
        return 7


def test_epochs_become_steps():
    task = Endless(delay=3)
    settings = Settings(batch_size=2, epochs=3).for_task(task)
    assert (settings.total, settings.every, settings.epochs) == (21, 7, None)
    settings = Settings(batch_size=2, epochs=0.5, evaluate_every=5).for_task(task)
    assert (settings.total, settings.every) == (4, 5)
    settings = Settings(batch_size=2, steps=9).for_task(task)
    assert (settings.total, settings.every) == (9, 7)
    assert Settings(batch_size=2, epochs=1e-9).for_task(task).total == 1


def test_settings_that_do_not_fit_an_endless_task_are_refused():
    task = CopyMemory(delay=3)
    assert Settings(batch_size=2, steps=9).for_task(task).every == 100
    with pytest.raises(ValueError, match="no epochs: give steps"):
        Settings(batch_size=2, epochs=9).for_task(task)
    with pytest.raises(ValueError, match="no end: give evaluation_batches"):
        Settings(batch_size=2, steps=9, evaluation_batches=None).for_task(task)
    with pytest.raises(ValueError, match="call for_task first"):
        _ = Settings(batch_size=2, epochs=9).total


@pytest.mark.parametrize("lengths", [{}, {"steps": 3, "epochs": 2}])
def test_one_of_steps_and_epochs_must_be_given(lengths):
    with pytest.raises(ValueError, match="one of steps and epochs must be given"):
        Settings(batch_size=2, **lengths)


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


def test_step_sizes_are_halved_when_validation_stalls_and_a_checkpoint_keeps_that():
    task = Stalling(delay=3, symbols=1)
    settings = Settings(batch_size=2, steps=12, patience=2, evaluate_every=1)

    def begin():
        model = assemble(
            lstm, Network(), hidden_size=3, input_size=task.input_size, output_size=task.output_size
        )
        optimizer = make_optimizer(model, torch.optim.Adam, lr=1.0, lr_ortho=0.1)
        return start(model, optimizer, settings, stream(0, "training"))

    state = begin()
    rates = [r["learning_rate"] for r in itertools.islice(fit(state, task, settings), 8)]
    # the first evaluation is a best; two stalled ones halve, which shows two updates later
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert (state.best_step, state.factor.halvings) == (1, 3)
    resumed = begin()
    resumed.load_state_dict(state.state_dict())
    assert resumed.factor.halvings == 3
    again = [r["learning_rate"] for r in fit(resumed, task, settings)]
    assert again == [r["learning_rate"] for r in fit(state, task, settings)] != []
