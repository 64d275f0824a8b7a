"""What the trainer asks of a task: data, loss, scores, and the loss of a blind predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from torch import Generator, Tensor

from benchmarks.system.seeding import Split

Scores = dict[str, float]


class Batch(NamedTuple):
    """One batch, time first.

    Attributes:
        input: (T, B, I), or (T, B) of indices if the task has tokens.
        target: (T, B) or, for a single answer, (B,), in the task's own form.
        carries_state: whether each row goes on where the same row of the batch before ended, so
            that the model's state is carried over.
    """

    input: Tensor
    target: Tensor
    carries_state: bool = False


class Metric(NamedTuple):
    """A score beside the loss.

    Attributes:
        show: how it is written, a format such as ``".1%"``.
        better: which way is better.
        derive: its value from the mean of the other scores; None if the task measures it.
    """

    show: str
    better: Literal["higher", "lower"] = "higher"
    derive: Callable[[Scores], float] | None = None


class Vocabulary(NamedTuple):
    """What the tokens of a task stand for.

    Attributes:
        symbols: a token is an index into them.
        level: ``"character"`` or ``"word"``.
    """

    symbols: tuple[str, ...]
    level: str


class Stream(NamedTuple):
    """Sequences too long to hold, on which it is measured how far a trained model stays right.

    Attributes:
        words: the sequences, of ``limit`` steps, with class labels; the same at every call.
        lengths: at which accuracies are taken, in steps.
        trained_length: the longest sequence of the training, in steps.
        limit: after how many steps the search for a first error ends, at least the longest length.
        chance: accuracy of a guess.
    """

    words: Callable[[], Batch]
    lengths: tuple[int, ...]
    trained_length: int
    limit: int
    chance: float


class Curriculum(Protocol):
    """A task in stages, each begun when the scores of the one before say so."""

    @property
    def task(self) -> Task:
        """The task of the present stage, whose batches are trained on."""

    def update(self, scores: Scores) -> None:
        """Take the scores of a batch; the next one may belong to the next stage."""

    def state_dict(self) -> dict[str, Any]:
        """Plain containers: where the course stands."""

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Return to the moment of :meth:`state_dict`."""


class Task(Protocol):
    """A source of batches that also scores: everything the trainer does not know."""

    @property
    def length(self) -> int:
        """Steps T of a sequence, or of the window in which gradients flow back."""

    @property
    def input_size(self) -> int:
        """Features I of the input, or the size of the vocabulary."""

    @property
    def output_size(self) -> int:
        """Features O of the model's output."""

    @property
    def tokens(self) -> bool:
        """Whether the input is indices instead of features."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """What the tokens stand for, if a model of them can write a text; else None."""

    @property
    def causal(self) -> bool:
        """Whether an answer may depend on the past alone, so that one direction must do."""

    @property
    def sequence_level(self) -> bool:
        """Whether the model answers once, (B, O), after the last step; else at every step."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, if a confusion matrix says something; else None."""

    @property
    def stream(self) -> Stream | None:
        """What a trained model is followed on beyond all lengths; None where nothing goes on."""

    @property
    def baseline(self) -> float:
        """Expected loss of the best predictor that remembers nothing."""

    @property
    def target_loss(self) -> float | None:
        """The loss below which the task counts as solved, if it can be."""

    @property
    def title(self) -> str:
        """One line for a person, with the variant and its sizes: all that decides the baseline."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The scores beside the loss, by name."""

    def make_curriculum(self) -> Curriculum | None:
        """A course at its beginning; None where all training is on the task itself."""

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """Batches in one pass over the training data; None where every batch is fresh."""

    def training(self, batch_size: int, step: int, generator: Generator) -> Batch:
        """The batch of a step, from 0; the same generator state and step give the same batch."""

    def held_out(self, split: Split, batch_size: int, batches: int | None) -> Iterator[Batch]:
        """The batches of a held-out set, the same at every call, at most ``batches`` of them."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The scalar to minimise, a mean over the target's entries."""

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """The metrics that are measured, each a mean over the target's entries."""

    def is_solved(self, scores: Scores) -> bool:
        """Whether the task is solved, from the mean loss and metrics of an evaluation."""


def derived(task: Task, scores: Scores) -> Scores:
    """``scores`` with the metrics that follow from their means."""
    made = {name: metric.derive for name, metric in task.metrics.items() if metric.derive}
    return scores | {name: derive(scores) for name, derive in made.items()}
