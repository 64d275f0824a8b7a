"""Numbers that show whether gradients survive: drift, spectrum, gradient norm through time."""

from __future__ import annotations

from collections.abc import Callable

import geoopt
import torch
from torch import Tensor, nn

from . import linalg
from .manifold import Stiefel


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
