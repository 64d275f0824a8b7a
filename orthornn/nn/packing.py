"""Sequences of unequal length, packed: where each one ends, and how to read it backwards."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from orthornn._torch_internals import disable_dynamo


class PackedLayout(NamedTuple):
    """The layout of a ``torch.nn.utils.rnn.PackedSequence``; None stands for a dense batch.

    Row r of the packed data belongs to one time step of one sequence. Rows are ordered by time,
    and within a step by sequence, longest first.
    """

    batch_sizes: Tensor
    """How many sequences last to each step, falling, int64 of shape (T,), on the CPU."""
    last_rows: Tensor
    """The row of each sequence's last step, shape (B,)."""
    reversed_rows: Tensor
    """The permutation of rows that reverses every sequence in itself, shape (N,)."""


@disable_dynamo
def packed_layout(batch_sizes: Tensor, data: Tensor) -> PackedLayout:
    """Read the layout off ``batch_sizes``, without a loop over sequences or steps.

    Args:
        batch_sizes: int64 of shape (T,), falling.
        data: the packed rows (N, ·).

    Raises:
        RuntimeError: if the sizes rise, reach 0 or do not add up to N, which no packing gives.
    """
    device, rows = data.device, int(batch_sizes.sum())
    if rows != len(data):
        raise RuntimeError(
            f"expected {rows} packed rows, as batch_sizes add up to, got {len(data)}"
        )
    if bool((batch_sizes.diff() > 0).any()) or int(batch_sizes[-1]) < 1:
        raise RuntimeError(
            f"expected batch_sizes that fall and stay above 0, got {batch_sizes.tolist()}"
        )
    steps = torch.arange(len(batch_sizes), device=batch_sizes.device)
    first = batch_sizes.cumsum(0) - batch_sizes  # row at which each step begins
    sequences = torch.arange(int(batch_sizes[0]), device=batch_sizes.device)
    lengths = (batch_sizes > sequences.unsqueeze(1)).sum(1)
    step = steps.repeat_interleave(batch_sizes)
    sequence = torch.arange(len(step), device=step.device) - first[step]
    mirrored = lengths[sequence] - 1 - step
    return PackedLayout(
        batch_sizes,
        (first[lengths - 1] + sequences).to(device),
        (first[mirrored] + sequence).to(device),
    )


def reverse(x: Tensor, layout: PackedLayout | None) -> Tensor:
    """Every sequence of ``x``, (T, B, ·) or packed (N, ·), from its own end; its own inverse."""
    return x.flip(0) if layout is None else x.index_select(0, layout.reversed_rows)


def last_states(h: Tensor, layout: PackedLayout | None) -> Tensor:
    """The states at each sequence's own last step, shape (B, H)."""
    return h[-1] if layout is None else h.index_select(0, layout.last_rows)
