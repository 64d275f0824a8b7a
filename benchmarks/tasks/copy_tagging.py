"""Copy as sequence tagging: each end of a long sequence is to be tagged with the other end."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn import functional

from .synthetic import MAX_SEQUENCE_STEPS, MAX_SYMBOLS, SyntheticTask
from .task import Batch, Metric, Scores

BLANK = 0


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class CopyTagging(SyntheticTask):
    """Tag each end of a sequence with the symbols of the other end: copy memory in both directions.

    Symbols 1 to A are drawn uniformly; ``_`` is the blank 0. With K = 3 and a delay of 5::

        input   3 1 2 _ _ _ _ _ 4 4 1
        target  4 4 1 _ _ _ _ _ 3 1 2

    The first K tags lie in the future: a model of one direction can at best guess them, at a loss
    of ``K ln A / (T + 2K)``, :attr:`causal_baseline`; one of both directions can know all. Without
    memory the best is ``2K ln A / (T + 2K)``. The loss is the cross-entropy averaged over steps.

    Args:
        delay: T, the blanks between the ends, at least 1.
        symbols: K, how many symbols stand at each end.
        alphabet: A, how many different symbols there are, at least 2.
        target_loss: the loss below which the task counts as solved.
    """

    delay: Annotated[int, Field(ge=1, le=MAX_SEQUENCE_STEPS)] = 200
    symbols: Annotated[int, Field(ge=1, le=MAX_SEQUENCE_STEPS)] = 10
    alphabet: Annotated[int, Field(ge=2, le=MAX_SYMBOLS)] = 8
    target_loss: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    sequence_level: ClassVar[bool] = False
    metrics: ClassVar[dict[str, Metric]] = {"recall": Metric(".1%"), "foresight": Metric(".1%")}

    @property
    def length(self) -> int:
        """Steps in a sequence, T + 2K."""
        return self.delay + 2 * self.symbols

    @property
    def input_size(self) -> int:
        """Blank and the alphabet, one-hot."""
        return self.alphabet + 1

    @property
    def output_size(self) -> int:
        """Blank and the alphabet."""
        return self.alphabet + 1

    @property
    def baseline(self) -> float:
        """``2K ln A / (T + 2K)``."""
        return 2 * self.causal_baseline

    @property
    def causal_baseline(self) -> float:
        """``K ln A / (T + 2K)``, the best of a model that remembers all and foresees nothing."""
        return self.symbols * math.log(self.alphabet) / self.length

    @property
    def title(self) -> str:
        """Name and sizes."""
        return f"copy tagging, T = {self.delay}, K = {self.symbols}, A = {self.alphabet}"

    def draw(self, batch_size: int, generator: Generator) -> Batch:
        """Input one-hot ``(T + 2K, B, A + 1)``; target class indices ``(T + 2K, B)``."""
        shape = (2 * self.symbols, batch_size)
        words = torch.randint(1, self.alphabet + 1, shape, generator=generator)
        start, end = words[: self.symbols], words[self.symbols :]
        silence = torch.full((self.delay, batch_size), BLANK)
        input = torch.cat([start, silence, end])
        target = torch.cat([end, silence, start])
        return Batch(functional.one_hot(input, self.input_size).float(), target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats, averaged over steps and batch."""
        return functional.cross_entropy(output.flatten(0, 1), target.flatten())

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """The share of right tags at the end, ``recall``, and at the start, ``foresight``."""
        right = (output.argmax(-1) == target).float()
        return {
            "recall": right[-self.symbols :].mean().item(),
            "foresight": right[: self.symbols].mean().item(),
        }

    def is_solved(self, scores: Scores) -> bool:
        """Whether the loss is below the target and every tag is right."""
        return scores["loss"] < self.target_loss and scores["recall"] == scores["foresight"] == 1.0
