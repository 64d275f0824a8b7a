"""Language modelling: predict each character or word of a text from those before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn import functional

from benchmarks.data.corpora import Corpus
from benchmarks.system.seeding import Split

from .baseline import smoothed_count_loss
from .synthetic import MAX_SEQUENCE_STEPS
from .task import Batch, Metric, Scores, Vocabulary


def perplexity(loss: float) -> float:
    """``exp(loss)``, infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


METRICS = {
    "character": {
        "bits_per_character": Metric(".3f", "lower", lambda scores: scores["loss"] / math.log(2))
    },
    "word": {"perplexity": Metric(".1f", "lower", lambda scores: perplexity(scores["loss"]))},
}


@dataclass(frozen=True, config={"extra": "forbid", "strict": True, "arbitrary_types_allowed": True})
class Language:
    """Predict the next token of a text (Mikolov et al., 2010), by truncated back-propagation.

    The text is cut into B columns that are read side by side, a window of T tokens at a step; the
    state is carried from window to window, its gradient is not. With B = 2 and T = 4::

        text      the_cat_sat_on_the_mat
        column 1  the_|cat_|sat            input  t h e _   then  c a t _   the state carried over
        column 2  _on_|the_|mat            target h e _ c         a t _ s

    The loss is the cross-entropy in nats averaged over tokens; ``bits_per_character`` is
    loss / ln 2, ``perplexity`` exp(loss). The baseline predicts from the current token alone, by
    counts.

    Args:
        data: the corpus, split into training, validation and test.
        window: T, tokens from which gradients flow back together.
        target_loss: the loss below which the task counts as solved; None if it cannot be.
    """

    data: Corpus
    window: Annotated[int, Field(ge=1, le=MAX_SEQUENCE_STEPS)] = 150
    target_loss: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    tokens: ClassVar[bool] = True
    causal: ClassVar[bool] = True
    sequence_level: ClassVar[bool] = False
    classes: ClassVar[None] = None
    stream: ClassVar[None] = None

    @property
    def length(self) -> int:
        """The window, or all of a text that is shorter."""
        return min(self.window, len(self.data.training))

    @property
    def input_size(self) -> int:
        """Size of the vocabulary."""
        return len(self.data.vocabulary)

    @property
    def output_size(self) -> int:
        """Size of the vocabulary."""
        return len(self.data.vocabulary)

    @property
    def vocabulary(self) -> Vocabulary:
        """The symbols of the corpus."""
        return Vocabulary(self.data.vocabulary, self.data.level)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Bits per character, or perplexity."""
        return METRICS[self.data.level]

    @cached_property
    def baseline(self) -> float:
        """The loss, on the validation text, of the best prediction from the current token alone."""
        a, b = self.data.training, self.data.validation
        return smoothed_count_loss(a[:-1], a[1:], b[:-1], b[1:], self.output_size)

    @property
    def title(self) -> str:
        """The corpus, its vocabulary and the window."""
        return f"{self.data.title}, {self.input_size:,} types, window {self.window}"

    def make_curriculum(self) -> None:
        """None: all training is on the task itself."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Windows in a column; the last one may be shorter.

        Raises:
            ValueError: if the text is too short for as many columns.
        """
        return -(-(self._columns(self.data.training, batch_size).shape[0] - 1) // self.window)

    def training(self, batch_size: int, step: int, generator: Generator) -> Batch:
        """The window of a step: input and target ``(T, B)``."""
        columns = self._columns(self.data.training, batch_size)
        return self._window(columns, step % self.steps_per_epoch(batch_size))

    def held_out(self, split: Split, batch_size: int, batches: int | None) -> Iterator[Batch]:
        """The windows of a text in fewer columns where it is short, from its start to its end."""
        text: Tensor = getattr(self.data, split)
        columns = self._columns(text, max(1, min(batch_size, len(text) // (2 * self.window))))
        count = -(-(len(columns) - 1) // self.window)
        for k in range(count if batches is None else min(count, batches)):
            yield self._window(columns, k)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats, averaged over tokens."""
        return functional.cross_entropy(output.flatten(0, 1), target.flatten())

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """Nothing: the metrics follow from the mean loss."""
        return {}

    def is_solved(self, scores: Scores) -> bool:
        """Whether the loss is below the target, if there is one."""
        return self.target_loss is not None and scores["loss"] < self.target_loss

    def _columns(self, text: Tensor, batch_size: int) -> Tensor:
        """The text as ``(N // B, B)``, each column a stretch of it; the rest is left out."""
        length = len(text) // batch_size
        if length < 2:
            raise ValueError(
                f"batch_size={batch_size} needs a text of at least {2 * batch_size} tokens, "
                f"got {len(text)}"
            )
        return text[: length * batch_size].view(batch_size, length).t()

    def _window(self, columns: Tensor, k: int) -> Batch:
        piece = columns[k * self.window : (k + 1) * self.window + 1]
        return Batch(piece[:-1], piece[1:], carries_state=k > 0)
