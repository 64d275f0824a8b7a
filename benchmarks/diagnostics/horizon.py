"""How far a trained model stays right on a stream: accuracies at lengths, and its horizon."""

from __future__ import annotations

import math

from torch import Tensor, nn

from benchmarks.tasks.stream import HORIZON, accuracy_name
from benchmarks.tasks.task import Scores, Stream
from orthornn.diagnostics import Horizon, horizon

from .accuracy_figure import AccuracyCurve

POINTS_PER_OCTAVE = 6  # of a curve


def follow(model: nn.Module, stream: Stream) -> Horizon:
    """How far a model stays right on a stream, with its accuracy at each step seen.

    The stream is left behind the longest of its lengths if the model is lost before.
    """
    device = next(model.parameters()).device
    tokens, labels = (a.to(device) for a in stream.words()[:2])
    longest = stream.lengths[-1]
    tracked = horizon(model, tokens[:longest], labels[:longest])
    if tracked.is_lost or stream.limit == longest:
        return tracked
    return horizon(model, tokens, labels, stop=True)


def score_stream(tracked: Horizon, stream: Stream) -> Scores:
    """The horizon, and the accuracy over the second half of each length of a stream."""
    halves = {n: tracked.accuracy[n // 2 : n].mean().item() for n in stream.lengths}
    return {HORIZON: float(tracked.steps), **{accuracy_name(n): x for n, x in halves.items()}}


def accuracy_curve(shares: Tensor) -> AccuracyCurve:
    """The accuracies of stretches between positions that grow by a sixth of an octave."""
    octaves = math.floor(POINTS_PER_OCTAVE * math.log2(len(shares)))
    ends = {round(2 ** (k / POINTS_PER_OCTAVE)) for k in range(octaves + 1)}
    positions = sorted(ends | {len(shares)})
    starts = [0, *positions[:-1]]
    means = [round(shares[a:b].mean().item(), 5) for a, b in zip(starts, positions, strict=True)]
    return AccuracyCurve(positions, means)
