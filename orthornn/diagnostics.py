"""Numbers that show whether gradients survive: drift, spectrum, gradient norm through time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from . import linalg


def orthogonality_error(module: nn.Module) -> float | None:
    """The largest ``‖WᵀW - I‖`` (Frobenius) over the manifold parameters; None without any."""
    points = [p for p in module.parameters() if isinstance(p, ManifoldParameter)]
    errors = [linalg.orthogonality_error(p).max().item() for p in points]
    return max(errors, default=None)


def singular_values(w: Tensor) -> Tensor:
    """Singular values of ``w`` in float64, largest first, shape ``(..., n, p)`` to ``(..., p)``."""
    return torch.linalg.svdvals(w.detach().double())


def gradient_norms(
    rnn: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """``‖∂L/∂h_t‖`` against t, for any recurrent module with the interface of ``torch.nn.RNN``.

    The sequence is fed one step at a time with the state carried along, so that every state is a
    node of the graph. For an LSTM the state is its h; the gradient through its cell is included
    in the steps before.

    Args:
        rnn: ``(x, state) -> (output, state)``, time first.
        x: input of shape ``(T, B, I)``.
        loss: maps the outputs ``(T, B, H)`` to a scalar.

    Returns:
        The norms, shape ``(T,)``, and the scalar loss.
    """
    state, states, outputs = None, [], []
    for x_t in x.unbind(0):
        output, state = rnn(x_t.unsqueeze(0), state)
        states.append(state[0] if isinstance(state, tuple) else state)
        outputs.append(output)
    value = loss(torch.cat(outputs))
    gradients = torch.autograd.grad(value, states, allow_unused=True)
    norms = [value.new_zeros(()) if g is None else g.norm() for g in gradients]
    return torch.stack(norms), value.detach()
