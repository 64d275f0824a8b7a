"""The names of what is measured on a stream, and the lengths at which it is."""

from __future__ import annotations

from benchmarks.records.text import REDUCED

from .task import Metric, Stream

FIRST_LENGTH, LENGTH_FACTOR = 64, 4  # steps; the lengths are 64, 256, 1024, ...
HORIZON = "horizon"
REDUCED_SIZE = f"{REDUCED}size"


def stream_lengths(longest: int) -> tuple[int, ...]:
    """64, 256, 1024, ... up to ``longest``."""
    lengths = [FIRST_LENGTH]
    while lengths[-1] * LENGTH_FACTOR <= longest:
        lengths.append(lengths[-1] * LENGTH_FACTOR)
    return tuple(lengths)


def accuracy_name(length: int) -> str:
    """The name of the accuracy over the second half of so many steps."""
    return f"accuracy_{length}"


def stream_metrics(stream: Stream | None) -> dict[str, Metric]:
    """The scores on a stream by name, of a model as it was trained, and then of a reduced one.

    The first, which ranks models, is how far they go.
    """
    if stream is None:
        return {}
    own = {HORIZON: Metric(",.0f")}
    own |= {accuracy_name(length): Metric(".1%") for length in stream.lengths}
    reduced = {f"{REDUCED}{name}": metric for name, metric in own.items()}
    return {**own, REDUCED_SIZE: Metric(".0f", "lower"), **reduced}
