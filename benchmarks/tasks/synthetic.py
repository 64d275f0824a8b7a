"""What all tasks share whose every batch is drawn anew: streams instead of splits and epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from torch import Generator

from benchmarks.system.seeding import Split, named_generator

from .task import Batch, Curriculum, Stream

MAX_SEQUENCE_STEPS = 10_000_000  # of a sequence
MAX_SYMBOLS = 1_000_000  # of an alphabet

# the purposes under which held-out data is drawn; training and initialisation have their own
_PURPOSES: dict[Split, str] = {"validation": "evaluation", "test": "test"}


class SyntheticTask(ABC):
    """A task that draws what it needs and never runs out of it; of features, not tokens."""

    tokens: ClassVar[bool] = False
    vocabulary: ClassVar[None] = None
    causal: ClassVar[bool] = False
    classes: ClassVar[None] = None

    @property
    def stream(self) -> Stream | None:
        """None: sequences end."""
        return None

    @abstractmethod
    def draw(self, batch_size: int, generator: Generator) -> Batch:
        """A fresh batch; the same generator state gives the same batch."""

    def make_curriculum(self) -> Curriculum | None:
        """None: all training is on the task itself."""
        return None

    def steps_per_epoch(self, batch_size: int) -> int | None:
        """None: there are no epochs."""
        return None

    def training(self, batch_size: int, step: int, generator: Generator) -> Batch:
        """A fresh batch."""
        return self.draw(batch_size, generator)

    def held_out(self, split: Split, batch_size: int, batches: int | None) -> Iterator[Batch]:
        """Batches of a stream that training never sees, the same at every call.

        Raises:
            ValueError: if ``batches`` is None, for there is no whole to take.
        """
        if batches is None:
            raise ValueError("a task with fresh data needs a number of evaluation batches")
        generator = named_generator(0, _PURPOSES[split])
        for _ in range(batches):
            yield self.draw(batch_size, generator)
