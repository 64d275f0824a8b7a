"""Copy memory: ten symbols, a long silence, then recall them in order."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn import functional

from .synthetic import MAX_SEQUENCE_STEPS, MAX_SYMBOLS, SyntheticTask
from .task import Batch, Metric, Scores

BLANK = 0


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class CopyMemory(SyntheticTask):
    """Recall K symbols after a delay (Hochreiter & Schmidhuber, 1997; Arjovsky et al., 2016).

    Symbols 1 to A are drawn uniformly; ``_`` is the blank 0 and ``:`` the go marker A + 1. With
    K = 3 and a delay of 5::

        arjovsky   input   3 1 2 _ _ _ _ : _ _ _      recall starts the step after the marker
                   target  _ _ _ _ _ _ _ _ 3 1 2      (uRNN, scoRNN, EUNN, nnRNN)

        exprnn     input   3 1 2 _ _ _ _ _ : _ _      recall starts at the marker
                   target  _ _ _ _ _ _ _ _ 3 1 2      (expRNN, dtriv, projUNN)

    The loss is the cross-entropy averaged over all T + 2K steps. Without memory the best is to
    answer blank until the marker and then guess: ``K ln A / (T + 2K)``.

    Args:
        delay: T, at least 1.
        symbols: K, how many symbols to recall.
        alphabet: A, how many different symbols there are, at least 2.
        variant: ``"arjovsky"`` or ``"exprnn"``.
        target_loss: the loss below which the task counts as solved.
    """

    delay: Annotated[int, Field(ge=1, le=MAX_SEQUENCE_STEPS)] = 200
    symbols: Annotated[int, Field(ge=1, le=MAX_SEQUENCE_STEPS)] = 10
    alphabet: Annotated[int, Field(ge=2, le=MAX_SYMBOLS)] = 8
    variant: Literal["arjovsky", "exprnn"] = "arjovsky"
    target_loss: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3

    sequence_level: ClassVar[bool] = False
    metrics: ClassVar[dict[str, Metric]] = {"recall": Metric(".1%")}

    @property
    def length(self) -> int:
        """Steps in a sequence, T + 2K."""
        return self.delay + 2 * self.symbols

    @property
    def input_size(self) -> int:
        """Blank, the alphabet and the marker, one-hot."""
        return self.alphabet + 2

    @property
    def output_size(self) -> int:
        """Blank and the alphabet; the marker is never an answer."""
        return self.alphabet + 1

    @property
    def baseline(self) -> float:
        """``K ln A / (T + 2K)``."""
        return self.symbols * math.log(self.alphabet) / self.length

    @property
    def title(self) -> str:
        """Name, sizes and variant: all that decides the baseline."""
        sizes = f"T = {self.delay}, K = {self.symbols}, A = {self.alphabet}"
        return f"copy memory, {sizes}, {self.variant} variant"

    def draw(self, batch_size: int, generator: Generator) -> Batch:
        """Input one-hot ``(T + 2K, B, A + 2)``; target class indices ``(T + 2K, B)``."""
        words = torch.randint(1, self.alphabet + 1, (self.symbols, batch_size), generator=generator)
        marker = self.length - self.symbols - (1 if self.variant == "arjovsky" else 0)
        input = torch.full((self.length, batch_size), BLANK)
        input[: self.symbols] = words
        input[marker] = self.alphabet + 1
        target = torch.full((self.length, batch_size), BLANK)
        target[-self.symbols :] = words
        return Batch(functional.one_hot(input, self.input_size).float(), target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats, averaged over steps and batch."""
        return functional.cross_entropy(output.flatten(0, 1), target.flatten())

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """``recall``: the share of the K symbols that are answered correctly."""
        answer = output[-self.symbols :].argmax(-1)
        return {"recall": (answer == target[-self.symbols :]).float().mean().item()}

    def is_solved(self, scores: Scores) -> bool:
        """Whether the loss is below the target and every symbol was recalled."""
        return scores["loss"] < self.target_loss and scores["recall"] == 1.0
