"""Numbers that show whether gradients survive the steps of a recurrence."""

from __future__ import annotations

from collections.abc import Callable

import geoopt
import torch
from torch import Tensor, nn

from orthornn import linalg
from orthornn._validation import check_choice
from orthornn.manifolds.stiefel import Stiefel
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

MAX_STATE_ELEMENTS = 1 << 22  # in the states of a segment of time


def orthogonality_error(module: nn.Module) -> float | None:
    """The largest ``‖WᵀW - I‖`` (Frobenius) over the points of Stiefel manifolds; None without."""
    kinds = (Stiefel, geoopt.Stiefel)
    points = [p for p in module.parameters() if isinstance(getattr(p, "manifold", None), kinds)]
    errors = [linalg.orthogonality_error(p).max().item() for p in points]
    return max(errors, default=None)


def singular_values(w: Tensor) -> Tensor:
    """Singular values of ``w`` in float64, largest first, shape ``(..., n, p)`` to ``(..., p)``."""
    values: Tensor = torch.linalg.svdvals(w.detach().double())
    return values


def gradient_norms(
    rnn: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """``‖∂L/∂h_t‖`` against t, for any recurrent module with the interface of ``torch.nn.RNN``.

    The sequence is fed one step at a time. A zero is added to every state, both where it is read
    out and where it is carried on; the gradient of that zero is the one sought. For an LSTM the
    state is its h alone.

    Args:
        rnn: ``(x, state) -> (output, state)``, time first, one layer in one direction.
        x: input of shape ``(T, B, I)``.
        loss: maps the outputs ``(T, B, H)`` to a scalar.

    Returns:
        The norms over batch and units, shape ``(T,)``, and the scalar loss.

    Raises:
        ValueError: for several layers or directions.
    """
    state, zeros, outputs = None, [], []
    for x_t in x.unbind(0):
        output, state = rnn(x_t.unsqueeze(0), state)
        h = state[0] if isinstance(state, tuple) else state
        if h.shape[0] != 1:
            raise ValueError(f"expected one layer in one direction, got a state of {h.shape[0]}")
        zero = torch.zeros_like(h, requires_grad=True)
        zeros.append(zero)
        outputs.append(output + zero)
        state = (h + zero, *state[1:]) if isinstance(state, tuple) else h + zero
    value = loss(torch.cat(outputs))
    gradients = torch.autograd.grad(value, zeros, materialize_grads=True)
    return torch.stack([g.norm() for g in gradients]), value.detach()


def jacobian(rnn: nn.Module, x: Tensor, state: Tensor | tuple[Tensor, ...] | None = None) -> Tensor:
    """``∂s_T/∂s_0`` of a recurrent module along one sequence.

    s is all that is carried from step to step: h of every layer, for an LSTM h and then c. Its
    singular values tell what survives T steps: all are 1 for a linear orthogonal recurrence, and
    ``σ^T`` for one scaled by σ. The sequence runs S times side by side, so that one backward pass
    finds all rows, a segment of it at a time, so that memory does not grow with T.

    Args:
        rnn: ``(x, state) -> (output, state)``, time first, in one direction.
        x: one sequence, shape ``(T, I)``, of the parameters' dtype, or ``(T,)`` of tokens.
        state: s_0 as the module takes it, for a batch of one; zero if None. At the zero state a
            unit of modReLU or ReLU may be off, and then so is its row.

    Returns:
        Shape ``(S, S)``; row i is the gradient of the i-th entry of s_T.

    Raises:
        ValueError: for an input of another number of axes or of no steps, or for two directions.
    """
    if getattr(rnn, "bidirectional", False):
        raise ValueError("expected a module of one direction, got a bidirectional one")
    if x.dim() != (2 if x.is_floating_point() else 1) or not len(x):
        expected = "(T, I)" if x.is_floating_point() else "(T,) of tokens"
        raise ValueError(f"expected one sequence of shape {expected}, got {tuple(x.shape)}")
    if state is None:
        with torch.no_grad():
            _, after = rnn(x[:1].unsqueeze(1))
        parts = [torch.zeros_like(part) for part in _state_parts(after)]
        state = tuple(parts) if isinstance(after, tuple) else parts[0]
    copies = sum(part.numel() for part in _state_parts(state))
    length = max(1, MAX_STATE_ELEMENTS // copies**2)
    total, state = _jacobian_of_segment(rnn, x[:length], state)
    for t in range(length, len(x), length):
        segment, state = _jacobian_of_segment(rnn, x[t : t + length], state)
        total = segment @ total
    return total


def _jacobian_of_segment(
    rnn: nn.Module, x: Tensor, state: Tensor | tuple[Tensor, ...]
) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
    """The Jacobian over some steps, and the state after them."""
    copies = sum(part.numel() for part in _state_parts(state))
    starts = [
        p.detach().expand(-1, copies, -1).clone().requires_grad_() for p in _state_parts(state)
    ]
    start = tuple(starts) if isinstance(state, tuple) else starts[0]
    _, end = rnn(x.unsqueeze(1).expand(-1, copies, *x.shape[1:]), start)
    rows = torch.cat([part.transpose(0, 1).flatten(1) for part in _state_parts(end)], 1)
    gradients = torch.autograd.grad(rows.diagonal().sum(), starts)
    ends = tuple(part[:, :1].detach() for part in _state_parts(end))
    matrix = torch.cat([g.transpose(0, 1).flatten(1) for g in gradients], 1)
    return matrix, ends if isinstance(end, tuple) else ends[0]


def _state_parts(state: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def saturation(h: Tensor, nonlinearity: str, threshold: float = 0.1) -> float:
    """The share of states where the derivative of the nonlinearity is below ``threshold``.

    Units of tanh near ±1, units of ReLU or modReLU at 0: gradients stop there, however orthogonal
    the weight.

    Args:
        h: states of any shape, outputs of the nonlinearity.
        nonlinearity: its name, as in :class:`orthornn.OrthoRNN`.
        threshold: the slope below which a unit counts as saturated.

    Raises:
        ValueError: for an unknown name.
    """
    check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
    h = h.detach()
    slopes = NONLINEARITIES[nonlinearity].mask_(torch.ones_like(h), h)
    return (slopes < threshold).double().mean().item()
