"""State tracking: the word problem of a group, and the flip-flop, labelled at every step."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn import functional

from benchmarks.system.seeding import named_generator

from .curriculum import LengthCurriculum
from .groups import Alphabet, Automaton, GroupName, make_automaton
from .stream import FIRST_LENGTH, stream_lengths
from .synthetic import MAX_SEQUENCE_STEPS, SyntheticTask
from .task import Batch, Metric, Scores, Stream

STREAM_WORDS = 64
MAX_TOKENS_PER_BATCH = 10_000_000

Steps = Annotated[int, Field(ge=2, le=MAX_SEQUENCE_STEPS)]


@dataclass(frozen=True, config={"extra": "forbid", "strict": True})
class StateTracking(SyntheticTask):
    """Name the state of an automaton after every token (Merrill, Petty & Sabharwal, 2024).

    Tokens are uniform and independent. Those of a group are its elements or generators, and the
    state is the product of all so far, ``s_t = x_t s_{t-1}``, from the identity e; of two factors
    the right one acts first. In S_3::

        input   (12)   (23)   e      (123)  (12)
        target  (12)   (132)  (132)  e      (12)

    The flip-flop (Liu et al., 2023) holds a bit, or overwrites it; it starts at 0::

        input   hold   write 1   hold   hold   write 0
        target  0      1         1      1      0

    Both are among the tasks that tell architectures apart by whether they go on beyond the lengths
    of their training (Delétang et al., 2023). So it is examined on one stream of 64 words: the
    accuracy over the second half of 64, 256, ... steps, and how far it goes.

    The course of training is the same for every model: words of 2 letters, doubled when they are
    mastered (:class:`benchmarks.tasks.curriculum.LengthCurriculum`). The loss is the mean
    cross-entropy over steps. A predictor without memory sees the token alone and does not know the
    step: :attr:`baseline` is its least expected loss at the whole length, exactly. It is ln |G|
    but for the first states, which are not uniform yet.

    Args:
        group: ``"parity"``, ``"z7"``, ``"z60"``, ``"s3"``, ``"a4"``, ``"a5"``, ``"s5"`` or
            ``"flip_flop"``.
        alphabet: the tokens: ``"all"`` elements; ``"generators"``, the identity and one or two
            that generate the group, of S_5 (1 2) and (1 2 3 4 5); ``"transpositions"``, all of S_3
            or S_5.
        length: T of the last stage of training, and of validation.
        tokens_per_batch: of a training step at least, so that there are more of short sequences;
            ``train.batch_size`` is the least number of sequences.
        test_length: the longest at which an accuracy is taken at the end, at least 64.
        horizon_limit: how far a first error is sought, if there is none up to there.
        target_loss: the loss below which the task counts as solved.

    Raises:
        ValueError: for a value out of its range, or a group without such an alphabet.
    """

    group: GroupName = "s5"
    alphabet: Alphabet = "all"
    length: Steps = 256
    tokens_per_batch: Annotated[int, Field(ge=1, le=MAX_TOKENS_PER_BATCH)] = 1024
    test_length: Annotated[int, Field(ge=FIRST_LENGTH, le=MAX_SEQUENCE_STEPS)] = 16_384
    horizon_limit: Annotated[int, Field(ge=FIRST_LENGTH, le=MAX_SEQUENCE_STEPS)] = 16_384
    target_loss: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.2

    tokens: ClassVar[bool] = True
    causal: ClassVar[bool] = True
    sequence_level: ClassVar[bool] = False
    metrics: ClassVar[dict[str, Metric]] = {
        "accuracy": Metric(".1%"),
        "last_accuracy": Metric(".1%"),
    }

    def __post_init__(self) -> None:
        make_automaton(self.group, self.alphabet)

    @property
    def automaton(self) -> Automaton:
        """The transitions."""
        return make_automaton(self.group, self.alphabet)

    @property
    def input_size(self) -> int:
        """Different tokens."""
        return self.automaton.tokens

    @property
    def output_size(self) -> int:
        """Different states."""
        return self.automaton.states

    @property
    def title(self) -> str:
        """The automaton, its alphabet and the length of the training."""
        return f"state tracking, {self.automaton.name}, T = {self.length}"

    @cached_property
    def baseline(self) -> float:
        """``H(s_t | x_t)`` with t uniform in 1 to T, by the distribution of each state."""
        table = self.automaton.table
        state = torch.zeros(self.output_size, dtype=torch.float64)
        state[0] = 1
        before = torch.zeros_like(state)  # the mean distribution of s_{t-1}
        for _ in range(self.length):
            before += state / self.length
            spread = (state / self.input_size).expand(table.shape).flatten()
            state = torch.zeros_like(state).index_add(0, table.flatten(), spread)
        joint = torch.zeros(table.shape, dtype=torch.float64)  # p(s_t | x_t)
        joint.scatter_add_(1, table, before.expand(table.shape))
        return float(torch.special.entr(joint).sum(1).mean())

    @property
    def stream(self) -> Stream:
        """64 words as long as the search for an error may take."""
        lengths = stream_lengths(self.test_length)
        limit = max(self.horizon_limit, lengths[-1])
        return Stream(
            words=lambda: replace(self, length=limit).draw(STREAM_WORDS, _stream_generator()),
            lengths=lengths,
            trained_length=self.length,
            limit=limit,
            chance=1 / self.output_size,
        )

    def make_curriculum(self) -> LengthCurriculum:
        """Words of 2 letters at first; the score is the accuracy at the last position."""
        return LengthCurriculum(
            lambda length: replace(self, length=length), self.length, "last_accuracy"
        )

    def training(self, batch_size: int, step: int, generator: Generator) -> Batch:
        """A fresh batch of a multiple of ``batch_size`` sequences, with enough tokens."""
        times = max(1, -(-self.tokens_per_batch // (batch_size * self.length)))
        return self.draw(times * batch_size, generator)

    def draw(self, batch_size: int, generator: Generator) -> Batch:
        """Input tokens ``(T, B)``, target states ``(T, B)``."""
        tokens = torch.randint(self.input_size, (self.length, batch_size), generator=generator)
        states = torch.empty_like(tokens)
        table, state = self.automaton.table.numpy(), np.zeros(batch_size, dtype=np.int64)
        for token, after in zip(tokens.numpy(), states.numpy(), strict=True):
            state = after[:] = table[token, state]
        return Batch(tokens, states)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats, averaged over steps and batch."""
        return functional.cross_entropy(output.flatten(0, 1), target.flatten())

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """The share of right states over all steps, and at the last one."""
        right = (output.argmax(-1) == target).float()
        return {"accuracy": right.mean().item(), "last_accuracy": right[-1].mean().item()}

    def is_solved(self, scores: Scores) -> bool:
        """Whether the loss is below the target."""
        return scores["loss"] < self.target_loss


def _stream_generator() -> Generator:
    return named_generator(0, "stream")
