"""Pixel-by-pixel images: name the digit after reading it one pixel at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor
from torch.nn import functional

from benchmarks.data.images import Images
from benchmarks.system.seeding import Split, named_generator

from .baseline import smoothed_count_loss
from .task import Batch, Metric, Scores

GREYS = 16  # levels into which a pixel is counted for the baseline


@dataclass(frozen=True, config={"extra": "forbid", "strict": True, "arbitrary_types_allowed": True})
class Pixels:
    """Classify an image from its pixels in a row, one a step (Le, Jaitly & Hinton, 2015).

    ::

        image   . # .      input   . # . . # # . # .      (T, B, 1), T = height x width
                . # #      answer  after the last step, one of the classes
                . # .

    A fixed permutation of the pixels, the same for all images, removes what is near. The loss is
    the cross-entropy in nats. The baseline sees the last pixel alone, by counts.

    Args:
        data: the images, split into training, validation and test.
        target_loss: the loss below which the task counts as solved; None if it cannot be.
    """

    data: Images
    target_loss: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    input_size: ClassVar[int] = 1
    tokens: ClassVar[bool] = False
    vocabulary: ClassVar[None] = None
    stream: ClassVar[None] = None
    causal: ClassVar[bool] = False
    sequence_level: ClassVar[bool] = True
    metrics: ClassVar[dict[str, Metric]] = {"accuracy": Metric(".2%")}

    @property
    def length(self) -> int:
        """Pixels of an image."""
        return int(self.data.training[0].shape[1])

    @property
    def output_size(self) -> int:
        """Classes."""
        return len(self.data.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.data.classes

    @cached_property
    def baseline(self) -> float:
        """The loss, on the validation images, of the best guess from the last pixel alone."""
        pairs = [
            part
            for pixels, labels in (self.data.training, self.data.validation)
            for part in ((pixels[:, -1] * (GREYS - 1)).round().long(), labels)
        ]
        return smoothed_count_loss(pairs[0], pairs[1], pairs[2], pairs[3], self.output_size)

    @property
    def title(self) -> str:
        """The images, their number of pixels and their order."""
        return self.data.title

    def make_curriculum(self) -> None:
        """None: all training is on the task itself."""

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole batches in the training images."""
        count = len(self.data.training[1])
        if count < batch_size:
            raise ValueError(f"batch_size={batch_size} is more than the {count} training images")
        return count // batch_size

    def training(self, batch_size: int, step: int, generator: Generator) -> Batch:
        """Images of an order drawn anew for each epoch from the generator's seed and the epoch."""
        epoch, k = divmod(step, self.steps_per_epoch(batch_size))
        shuffle = named_generator(generator.initial_seed(), f"epoch {epoch}")
        order = torch.randperm(len(self.data.training[1]), generator=shuffle)
        return self._batch(self.data.training, order[k * batch_size : (k + 1) * batch_size])

    def held_out(self, split: Split, batch_size: int, batches: int | None) -> Iterator[Batch]:
        """The images of a split in their order; the last batch may be smaller."""
        images: tuple[Tensor, Tensor] = getattr(self.data, split)
        starts = range(0, len(images[1]), batch_size)
        for start in starts if batches is None else starts[:batches]:
            yield self._batch(images, torch.arange(start, min(start + batch_size, starts.stop)))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy in nats, averaged over the batch."""
        return functional.cross_entropy(output, target)

    def score(self, output: Tensor, target: Tensor) -> Scores:
        """``accuracy``: the share of images that are named correctly."""
        return {"accuracy": (output.argmax(-1) == target).float().mean().item()}

    def is_solved(self, scores: Scores) -> bool:
        """Whether the loss is below the target, if there is one."""
        return self.target_loss is not None and scores["loss"] < self.target_loss

    def _batch(self, images: tuple[Tensor, Tensor], index: Tensor) -> Batch:
        pixels, labels = images
        return Batch(pixels[index].t().unsqueeze(-1).contiguous(), labels[index])
