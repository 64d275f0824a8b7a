"""Training over long sequences in little memory: states recomputed, a segment of time at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthornn._validation import short_repr


def in_segments(
    rnn: nn.Module,
    input: Tensor,
    hx: Tensor | tuple[Tensor, ...] | None = None,
    *,
    read: Callable[..., Tensor] | None = None,
    along: Sequence[Tensor] = (),
    steps: int | None = None,
) -> tuple[Tensor | None, Any]:
    """``rnn(input, hx)`` and ``read`` of its output, without ever holding all the output at once.

    Time is cut into segments. Of each, the state at its end and what ``read`` makes of its output
    are kept; the backward pass runs the segment again (Chen et al., "Training Deep Nets with
    Sublinear Memory Cost", 2016). Gradients are those of the whole, exactly. Of T states, H wide,
    ``T / steps + steps`` are held at a time, least at the default ``steps = √T``, for one more
    forward pass. (Dropout between layers draws its masks segment by segment, others than
    ``rnn(input)`` would.)

    Args:
        rnn: an :class:`orthornn.OrthoRNN`, or any module with the interface of ``torch.nn.RNN``,
            ``LSTM`` or ``GRU``, of any number of layers, in one direction. Its ``feature_axes``
            counts the axes of one step's input, 1 where it has none.
        input: (T, B, I), or (B, T, I) if ``rnn.batch_first``, or (T, I); without I for tokens.
        hx: the initial state, as ``rnn`` takes it; what ``rnn`` starts from if None.
        read: from the output of a segment, with t steps instead of T, to a tensor that again has
            the steps in their place: a readout, a loss of each step. None reads nothing.
        along: tensors with the T steps where ``input`` has them, such as targets; ``read`` is given
            each segment of them after that of the output.
        steps: of a segment; √T if None.

    Returns:
        What ``read`` gave, joined along time (None without it), and the last state.

    Raises:
        TypeError: for what is no module, no tensor (a packed sequence) or no function, and for a
            ``read`` that gives no tensor with time in its place.
        ValueError: for a bidirectional ``rnn``, an input of other dimensions, steps below 1, or
            ``along`` of another length.
    """
    _check(rnn, input, read, steps)
    batched = input.dim() == 2 + getattr(rnn, "feature_axes", 1)
    axis = 1 if getattr(rnn, "batch_first", False) and batched else 0
    length = input.shape[axis]
    for a in along:
        if not isinstance(a, Tensor) or a.shape[axis : axis + 1] != (length,):
            got = f"the shape {tuple(a.shape)}" if isinstance(a, Tensor) else type(a).__name__
            raise ValueError(
                f"along must hold tensors with {length} steps in axis {axis}, got {got}"
            )
    if steps is None:
        steps = max(1, math.isqrt(length))

    def run(part: Tensor, state: Any, *others: Tensor) -> tuple[Tensor | None, Any]:
        output, state = rnn(part, state)
        return None if read is None else read(output, *others), state

    results: list[Tensor] = []
    state: Any = hx
    for part, *others in zip(*(torch.split(a, steps, axis) for a in (input, *along)), strict=True):
        if torch.is_grad_enabled():
            result, state = checkpoint(run, part, state, *others, use_reentrant=False)
        else:
            result, state = run(part, state, *others)
        if read is None:
            continue
        if not isinstance(result, Tensor) or result.dim() <= axis:
            got = "a number" if isinstance(result, Tensor) else type(result).__name__
            raise TypeError(f"read must give a tensor with time in axis {axis}, got {got}")
        results.append(result)
    return torch.cat(results, axis) if results else None, state


def _check(rnn: object, input: object, read: object, steps: object) -> None:
    if not isinstance(rnn, nn.Module):
        raise TypeError(f"in_segments expects a torch.nn.Module, got {type(rnn).__name__}")
    if not isinstance(input, Tensor):
        raise TypeError(f"in_segments takes a tensor, got {type(input).__name__}")
    least = 1 + getattr(rnn, "feature_axes", 1)
    if input.dim() not in (least, least + 1):
        raise ValueError(f"input must have {least} or {least + 1} dimensions, got {input.dim()}")
    if getattr(rnn, "bidirectional", False):
        raise ValueError("in_segments runs one direction: bidirectional must be False, got True")
    if read is not None and not callable(read):
        raise TypeError(f"read must be None or callable, got {short_repr(read)}")
    whole = isinstance(steps, int) and not isinstance(steps, bool)
    if steps is not None and (not whole or steps < 1):  # type: ignore[operator]
        raise ValueError(f"steps must be None or an int of at least 1, got {short_repr(steps)}")
