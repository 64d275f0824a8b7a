"""Torch's operations, the adjoint by hand: a row of each table per step, all gradients at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn.recurrence.backend import Tensors

from .inputs import REFLECTIONS, Gradients, Inputs, Kind, Needed
from .reference import reflect, split_steps, transform

BLOCK_BYTES = 1 << 22  # of outer products, before they are added up

# Note [The switched adjoint]
# With g_t the gradient that reaches h_t from outside the recurrence, M_t = M(x_t), a_t = a(x_t):
#     λ_t = g_t + a_{t+1} M_{t+1}ᵀ λ_{t+1},     dh_0 = a_1 M_1ᵀ λ_1,
#     dW[x_t] += a_t λ_t h_{t-1}ᵀ,   da[x_t] += λ_t · M_t h_{t-1},   db[x_t] += λ_t.
# A product of reflections has u_0 = h_{t-1}, u_j = H(v_j) u_{j-1} on the way there and
# μ_k = a_t λ_t, μ_{j-1} = H(v_j) μ_j on the way back:
#     dv_j += -2 [(v_j · u_{j-1}) μ_j + (v_j · μ_j) u_{j-1}].
# Only λ runs through time. Given all of them, and all states, every gradient is a sum over rows.


def unavailable() -> None:
    """It runs wherever torch does."""


def unsupported(tensors: Tensors, kind: Kind) -> None:
    """It takes whatever torch's operations take."""


def is_faster(inputs: Inputs, kind: Kind) -> bool:
    """It is the last of the table."""
    return True


@full_precision_matmul()
def forward(inputs: Inputs, kind: Kind) -> Tensor:
    """The states; see :class:`orthornn.recurrence.backend.Backend`."""
    tokens, h, weight, gate, shift = inputs
    states = h.new_empty(inputs.states_shape)
    steps = (split_steps(a, kind.batch_sizes) for a in (tokens, states))
    for rows, h_next in zip(*steps, strict=True):
        h = transform(weight[rows], h[: len(rows)], kind.transition)
        if gate is not None:
            h = gate[rows].unsqueeze(-1) * h
        if shift is not None:
            h = h + shift[rows]
        h_next.copy_(h)
    return states


@full_precision_matmul()
def backward(grad: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed) -> Gradients:
    """The gradients; see :class:`orthornn.recurrence.backend.Backend`."""
    tokens, h0, weight, gate, _ = inputs
    lambdas, carry = torch.empty_like(states), torch.zeros_like(h0)
    steps = (split_steps(a, kind.batch_sizes) for a in (tokens, grad, lambdas))
    for rows, g, lam in reversed(list(zip(*steps, strict=True))):
        active = carry[: len(rows)]
        torch.add(g, active, out=lam)
        back = transform_back(weight[rows], lam, kind.transition)
        active.copy_(back if gate is None else gate[rows].unsqueeze(-1) * back)
    gradients = table_gradients(lambdas, inputs, states, kind, needed)
    return gradients._replace(h0=carry) if needed.h0 else gradients


def transform_back(weight: Tensor, u: Tensor, transition: str) -> Tensor:
    """``Mᵀ u`` of each row: weight (B, H, H) or (B, k, H), u (B, H)."""
    return transform(weight.flip(1) if transition == REFLECTIONS else weight.mT, u, transition)


def table_gradients(
    lambdas: Tensor, inputs: Inputs, states: Tensor, kind: Kind, needed: Needed
) -> Gradients:
    """Those of weight, gate and shift, from λ of every step as in Note [The switched adjoint]."""
    tokens, _, weight, gate, shift = inputs
    dw = torch.zeros_like(weight) if needed.weight else None
    da = torch.zeros_like(gate) if needed.gate and gate is not None else None
    db = torch.zeros_like(shift) if needed.shift and shift is not None else None
    size = max(1, BLOCK_BYTES // (weight.shape[1:].numel() * weight.element_size()))
    rows = (tokens.flatten(), lambdas.flatten(0, -2), _states_before(inputs, states, kind))
    for x, lam, h in zip(*(torch.split(a, size) for a in rows), strict=True):
        if db is not None:
            db.index_add_(0, x, lam)
        mu = lam if gate is None else gate[x].unsqueeze(-1) * lam
        if da is None and dw is None:
            continue
        if kind.transition == REFLECTIONS:
            path = list(_reflections(weight[x], h))
            end = path[-1]
            d = _of_vectors(weight[x], path, mu) if dw is not None else None
        else:
            end = transform(weight[x], h, kind.transition) if da is not None else h
            d = mu.unsqueeze(-1) * h.unsqueeze(-2) if dw is not None else None
        if dw is not None and d is not None:
            dw.index_add_(0, x, d)
        if da is not None:
            da.index_add_(0, x, (lam * end).sum(-1))
    return Gradients(weight=dw, gate=da, shift=db)


def _reflections(vectors: Tensor, h: Tensor) -> Iterator[Tensor]:
    """u_0, ..., u_k of each row."""
    yield h
    for v in vectors.unbind(1):
        h = reflect(v, h)
        yield h


def _of_vectors(vectors: Tensor, path: Sequence[Tensor], mu: Tensor) -> Tensor:
    """The gradients of v_1, ..., v_k, (N, k, H)."""
    made = []
    for v, u in zip(reversed(vectors.unbind(1)), reversed(path[:-1]), strict=True):
        along_u, along_mu = ((v * a).sum(-1, keepdim=True) for a in (u, mu))
        made.append(-2 * (along_u * mu + along_mu * u))
        mu = mu - 2 * along_mu * v
    return torch.stack(made[::-1], 1)


def _states_before(inputs: Inputs, states: Tensor, kind: Kind) -> Tensor:
    """h_{t-1} of every row of the states, (N, H)."""
    steps = [inputs.h0, *split_steps(states, kind.batch_sizes)]
    rows = split_steps(inputs.tokens, kind.batch_sizes)
    return torch.cat([h[: len(x)] for h, x in zip(steps, rows, strict=False)])
