"""What one comparison is before it is measured, and after."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch

from .sizes import Size

Action = Callable[[], object]
Make = Callable[[], Action]


class Unit(NamedTuple):
    """In what a table is measured and shown.

    Attributes:
        kept: the unit of the values.
        shown: the unit for a person.
        scale: from the one to the other.
        more: whether more is better; what stands beside the reference is a share of it then.
    """

    kept: str
    shown: str
    scale: float
    more: bool = False


TIME = Unit("s", "ms", 1e3)
MEMORY = Unit("bytes", "MB", 1e-6)
THROUGHPUT = Unit("GFLOP/s", "GFLOP/s", 1.0, more=True)


class SpeedPlan(NamedTuple):
    """What the command line asks of every part.

    Attributes:
        device: where it runs.
        sizes: of the layers, in place of those that each part has.
        quick: whether everything is tiny.
        threads: of a process.
        repeats: how often each candidate has its turn.
    """

    device: torch.device
    sizes: tuple[Size, ...] | None
    quick: bool
    threads: int
    repeats: int


class SpeedTable(NamedTuple):
    """Candidates that are measured in turns.

    Attributes:
        title: what is compared, and at which size.
        references: of which candidates the others are shown as multiples: of the best of them.
        candidates: what each does in its turn, by its name, made when the table is measured.
        own: the names of those that are of this library.
        flop: operations of one turn of each, where it is throughput that is measured.
    """

    title: str
    references: tuple[str, ...]
    candidates: Mapping[str, Make]
    own: frozenset[str]
    flop: Mapping[str, float] = {}

    def only(self, wanted: tuple[str, ...]) -> SpeedTable:
        """Those whose name contains one of ``wanted``, whatever its case, and the references."""
        chosen = {
            name: make
            for name, make in self.candidates.items()
            if name in self.references or name_contains(name, wanted)
        }
        return self._replace(candidates=chosen)


def name_contains(name: str, wanted: tuple[str, ...]) -> bool:
    """Whether a name contains one of the texts, whatever their case."""
    return any(text.casefold() in name.casefold() for text in wanted)


class SpeedRow(NamedTuple):
    """One candidate of a measured table; ``ratio`` is None without a reference."""

    name: str
    median: float
    least: float
    most: float
    ratio: float | None


class MeasuredTable(NamedTuple):
    """A table with what was measured.

    Attributes:
        part: of which part it is.
        title: of the table.
        unit: of the values.
        references: see :class:`SpeedTable`.
        own: see :class:`SpeedTable`.
        values: every measured value, by the candidate's name.
        failed: the candidates that raised an error, and which.
    """

    part: str
    title: str
    unit: Unit
    references: tuple[str, ...]
    own: frozenset[str]
    values: Mapping[str, list[float]]
    failed: Mapping[str, str]

    @property
    def reference(self) -> str | None:
        """The best of the references that were measured."""
        medians = {
            n: statistics.median(self.values[n]) for n in self.references if n in self.values
        }
        best = max if self.unit.more else min
        return best(medians, key=lambda name: medians[name]) if medians else None

    def rows(self) -> Iterator[SpeedRow]:
        """The candidates in their order."""
        of = 0.0 if self.reference is None else statistics.median(self.values[self.reference])
        for name, values in self.values.items():
            median = statistics.median(values)
            yield SpeedRow(name, median, min(values), max(values), median / of if of else None)
