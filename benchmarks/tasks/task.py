"""What the trainer asks of a task: data, loss, metrics, and the score of a blind predictor."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Generator, Tensor


class Batch(NamedTuple):
    """One batch, time first: ``input`` (T, B, I) and ``target``, in the task's own form."""

    input: Tensor
    target: Tensor


class Task(Protocol):
    """A source of batches that also scores: everything the trainer does not know."""

    @property
    def input_size(self) -> int:
        """Features I of the input."""

    @property
    def output_size(self) -> int:
        """Features of the model's output."""

    @property
    def baseline(self) -> float:
        """Expected loss of the best predictor that remembers nothing."""

    @property
    def target_loss(self) -> float:
        """The loss below which the task counts as solved."""

    @property
    def title(self) -> str:
        """One line for a person, with the variant and its sizes."""

    def draw(self, batch_size: int, generator: Generator) -> Batch:
        """A fresh batch; the same generator state gives the same batch."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The scalar to minimise, from the model's output (T, B, output_size)."""

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Further scores by name, in [0, 1] where larger is better."""

    def is_solved(self, scores: dict[str, float]) -> bool:
        """Whether the task is solved, from the mean loss and metrics of an evaluation."""
