"""What a curriculum changes in the training: the task of a batch, the records, the best weights."""

import torch

from benchmarks import models
from benchmarks.models import Network, assemble
from benchmarks.records.summary import best_of_last_stage
from benchmarks.system.seeding import named_generator
from benchmarks.tasks.copy_memory import CopyMemory
from benchmarks.training import loop
from benchmarks.training.loop import initial_state, train
from benchmarks.training.optimizer import make_optimizer
from benchmarks.training.settings import TrainSettings
from orthornn import RiemannianAdam


class Course:
    """Copy memory with a delay of 1, and of 5 from the third step on."""

    def __init__(self):
        self.task = CopyMemory(delay=1, symbols=1)
        self.seen = []

    def update(self, scores):
        self.seen.append(scores["loss"])
        if len(self.seen) == 2:
            self.task = CopyMemory(delay=5, symbols=1)


def test_the_best_weights_are_those_of_the_last_stage(monkeypatch):
    losses = iter([0.1, 0.2, 5.0, 4.0, 6.0])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: {"loss": next(losses)})
    task, settings = (
        CopyMemory(delay=5, symbols=1),
        TrainSettings(steps=5, batch_size=2, evaluate_every=1),
    )
    sizes = {"input_size": task.input_size, "output_size": task.output_size}
    model = assemble(models.gru, Network(), hidden_size=3, **sizes)
    optimizer = make_optimizer(model, RiemannianAdam, lr=1e-3, lr_ortho=1e-3)
    course, generator = Course(), named_generator(0, "training")
    state = initial_state(model, optimizer, settings, generator, curriculum=course)
    lengths = []
    model.register_forward_hook(lambda module, inputs, output: lengths.append(len(inputs[0])))
    records = list(train(state, task, settings))
    assert lengths == [record["length"] for record in records] == [3, 3, 7, 7, 7]
    assert course.seen == [record["loss"] for record in records]
    assert (state.best_step, state.best_loss) == (4, 4.0)
    assert best_of_last_stage(records) == 4.0
    assert torch.isfinite(state.best["readout.weight"]).all()
