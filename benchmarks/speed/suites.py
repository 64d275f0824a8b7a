"""The parts of the benchmark: what each compares, how it is measured, and in which unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import memory, throughput, timing
from .cases import layer_passes, long_sequences, optimizers, retractions, switched
from .table import MEMORY, THROUGHPUT, TIME, SpeedPlan, SpeedTable, Unit
from .timing import OnProgress, Values


class Suite(NamedTuple):
    """One part.

    Attributes:
        tables: what is compared.
        measure: the values of a table, in the unit that is kept, and what failed.
        rounds: how many there are.
        unit: of the values.
        sized: whether ``--sizes`` are sizes of it.
    """

    tables: Callable[[SpeedPlan], Iterator[SpeedTable]]
    measure: Callable[[SpeedTable, SpeedPlan, OnProgress], tuple[Values, dict[str, str]]] = (
        timing.measure_seconds
    )
    rounds: Callable[[SpeedPlan], int] = timing.timing_rounds
    unit: Unit = TIME
    sized: bool = True


SUITES = {
    "layers": Suite(layer_passes.training_tables),
    "inference": Suite(layer_passes.inference_tables),
    "packed": Suite(layer_passes.packed_tables),
    "memory": Suite(memory.memory_tables, memory.measure_memory, memory.memory_rounds, MEMORY),
    "peak": Suite(throughput.throughput_tables, throughput.measure_throughput, unit=THROUGHPUT),
    "segments": Suite(long_sequences.segment_tables),
    "segments_memory": Suite(
        long_sequences.segment_memory_tables, memory.measure_memory, memory.memory_rounds, MEMORY
    ),
    "linear": Suite(long_sequences.linear_tables),
    "switched": Suite(switched.matrix_tables),
    "reflections": Suite(switched.reflection_tables),
    "optimizers": Suite(optimizers.optimizer_tables, sized=False),
    "retractions": Suite(retractions.retraction_tables, sized=False),
}
