"""The adding problem: sum two marked numbers of a long sequence."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn import functional

from .synthetic import MAX_SEQUENCE_STEPS, SyntheticTask
from .task import Batch, Metric, Scores

CORRECT = 0.04


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class Adding(SyntheticTask):
    """Add the two numbers that are marked (Hochreiter & Schmidhuber, 1997; Arjovsky et al., 2016).

    Values are uniform in [0, 1); one marker stands in the first half of the sequence and one in the
    second, each uniform. The answer is read after the last step. With T = 8::

        input   value   .31 .72 .05 .88 .46 .12 .97 .60
                marker   0   1   0   0   0   0   1   0
        target                                          .72 + .97 = 1.69

    The loss is the mean squared error. Without memory the best is to answer 1, the mean of the
    sum, at a loss of its variance, ``1/6``.

    Args:
        length: T, at least 2; of an odd T the first half is the shorter one.
        target_loss: the loss below which the task counts as solved.
    """

    length: Annotated[int, Field(ge=2, le=MAX_SEQUENCE_STEPS)] = 200
    target_loss: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    input_size: ClassVar[int] = 2
    output_size: ClassVar[int] = 1
    sequence_level: ClassVar[bool] = True
    baseline: ClassVar[float] = 1 / 6
    metrics: ClassVar[dict[str, Metric]] = {"correct": Metric(".1%")}

    @property
    def title(self) -> str:
        """Name and length."""
        return f"adding problem, T = {self.length}"

    def draw(self, batch_size: int, generator: Generator) -> Batch:
        """Input (T, B, 2), the values and the markers; target (B,), the sums."""
        values = torch.rand(self.length, batch_size, generator=generator)
        half = self.length // 2
        first = torch.randint(half, (1, batch_size), generator=generator)
        second = torch.randint(half, self.length, (1, batch_size), generator=generator)
        marked = torch.cat([first, second])
        markers = torch.zeros_like(values).scatter_(0, marked, 1.0)
        return Batch(torch.stack([values, markers], -1), values.gather(0, marked).sum(0))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error over the batch, from the output (B, 1)."""
        return functional.mse_loss(output.squeeze(-1), target)

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """``correct``: the share of answers off by less than 0.04, as in the paper of 1997."""
        close = (output.squeeze(-1) - target).abs() < CORRECT
        return {"correct": close.float().mean().item()}

    def is_solved(self, scores: Scores) -> bool:
        """Whether the loss is below the target."""
        return scores["loss"] < self.target_loss
