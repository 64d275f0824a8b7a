"""How far a trained model stays right on a stream: accuracies at lengths, and its horizon."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.models import SequenceModel
from benchmarks.tasks.stream import HORIZON, accuracy_name
from benchmarks.tasks.task import Scores, Stream

HORIZON_WINDOW = 32  # steps
HORIZON_ACCURACY = 0.99  # of a window, below which a model is lost
POINTS_PER_OCTAVE = 6  # of a curve


class AccuracyCurve(NamedTuple):
    """The share of right answers against the position, in stretches that grow with it.

    Attributes:
        positions: the last step of each stretch, from 1.
        accuracies: the mean over the words and over the steps of the stretch.
    """

    positions: list[int]
    accuracies: list[float]


@torch.no_grad()
def follow(model: SequenceModel, stream: Stream) -> Tensor:
    """The share of right answers at every step, over the words of a stream, float64 ``(steps,)``.

    The stream is left behind the longest of its lengths once the horizon is known.
    """
    device = next(model.parameters()).device
    shares: list[Tensor] = []
    steps, state = 0, None
    for piece in stream.pieces():
        output, state = model(piece.input.to(device), state if piece.carries_state else None)
        right = output.argmax(-1) == piece.target.to(device)
        shares.append(right.double().mean(1).cpu())
        steps += len(right)
        if steps >= stream.lengths[-1] and find_horizon(torch.cat(shares)) is not None:
            break
    return torch.cat(shares)


def find_horizon(shares: Tensor) -> int | None:
    """How many steps come before the first 32 whose mean accuracy is below 99 %; None without any.

    Args:
        shares: of right answers at each step, ``(steps,)``.
    """
    windows = shares.unfold(0, min(HORIZON_WINDOW, len(shares)), 1).mean(-1)
    lost = torch.nonzero(windows < HORIZON_ACCURACY)
    return int(lost[0]) if len(lost) else None


def score_stream(shares: Tensor, stream: Stream) -> Scores:
    """The horizon, the end of the stream if none, and the accuracy over each length's second half.

    Args:
        shares: of right answers at each step, ``(steps,)``.
        stream: on which they were taken.
    """
    horizon = find_horizon(shares)
    halves = {n: shares[n // 2 : n].mean().item() for n in stream.lengths}
    accuracies = {accuracy_name(n): value for n, value in halves.items()}
    return {HORIZON: float(len(shares) if horizon is None else horizon), **accuracies}


def accuracy_curve(shares: Tensor) -> AccuracyCurve:
    """The accuracies of stretches between positions that grow by a sixth of an octave."""
    octaves = math.log2(len(shares))
    count = max(1, round(octaves * POINTS_PER_OCTAVE))
    ends = {round(2 ** (octaves * k / count)) for k in range(count + 1)}
    positions = sorted(ends)
    starts = [0, *positions[:-1]]
    means = [round(shares[a:b].mean().item(), 5) for a, b in zip(starts, positions, strict=True)]
    return AccuracyCurve(positions, means)
