"""The parts of the benchmark: what each compares, how it is measured, and in which unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import memory, throughput, timing
from .cases import long, optimizers, passes, retractions
from .table import MEMORY, THROUGHPUT, TIME, Plan, Table, Unit
from .timing import Tell, Values


class Part(NamedTuple):
    """One part.

    Attributes:
        tables: what is compared.
        measure: the values of a table, in the unit that is kept, and what failed.
        rounds: how many there are.
        unit: of the values.
        sized: whether ``--sizes`` are sizes of it.
    """

    tables: Callable[[Plan], Iterator[Table]]
    measure: Callable[[Table, Plan, Tell], tuple[Values, dict[str, str]]] = timing.seconds
    rounds: Callable[[Plan], int] = timing.rounds
    unit: Unit = TIME
    sized: bool = True


PARTS = {
    "layers": Part(passes.training_tables),
    "inference": Part(passes.inference_tables),
    "packed": Part(passes.packed_tables),
    "memory": Part(memory.tables, memory.measure, memory.rounds, MEMORY),
    "peak": Part(throughput.tables, throughput.measure, unit=THROUGHPUT),
    "segments": Part(long.segment_tables),
    "segments_memory": Part(long.segment_memory_tables, memory.measure, memory.rounds, MEMORY),
    "linear": Part(long.linear_tables),
    "optimizers": Part(optimizers.tables, sized=False),
    "retractions": Part(retractions.tables, sized=False),
}
