"""Random streams that depend on a seed and a purpose, and the split names that tasks share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from torch import Generator

Split = Literal["validation", "test"]
Drawn = TypeVar("Drawn")

# the purposes under which held-out data is drawn; training and initialisation have their own
_PURPOSES: dict[Split, str] = {"validation": "evaluation", "test": "test"}


def stream(seed: int, purpose: str) -> Generator:
    """A generator whose numbers depend on the seed and on what they are for, and on nothing else.

    Training, initialisation and each held-out set draw from streams of their own.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def held_out_draws(
    draw: Callable[[int, Generator], Drawn], split: Split, batch_size: int, batches: int | None
) -> Iterator[Drawn]:
    """``batches`` draws of a task that has no end of data: the same at every call.

    Raises:
        ValueError: if ``batches`` is None, for there is no whole to take.
    """
    if batches is None:
        raise ValueError("a task with fresh data needs a number of evaluation batches, got None")
    generator = stream(0, _PURPOSES[split])
    for _ in range(batches):
        yield draw(batch_size, generator)
