"""The update rules: from gradient and moments to a direction of descent, on any manifold.

A rule is ``(g, state, group, mean_square) -> d``: ``g`` is the Riemannian gradient in the frame
that the optimizer works in, ``state`` the moments (updated in place), ``group`` the options, and
``mean_square`` how g² is taken: elementwise, or one mean per matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
Group = dict[str, Any]
MeanSquare = Callable[[Tensor], Tensor]
Rule = Callable[[Tensor, State, Group, MeanSquare], Tensor]


def matrix_square(g: Tensor) -> Tensor:
    """The mean of g² over the entries of each matrix, shape ``(..., n, p)`` to ``(..., 1, 1)``."""
    return g.square().mean((-2, -1), keepdim=True)


def sgd(g: Tensor, state: State, group: Group, _: MeanSquare) -> Tensor:
    """``m <- μ m + (1-τ) g``; the direction is m, or ``g + μ m`` with Nesterov's rule."""
    mu: float = group["momentum"]
    if mu == 0:
        return g
    if "momentum_buffer" not in state:
        m: Tensor = g.clone()
        state["momentum_buffer"] = m
    else:
        m = state["momentum_buffer"].mul_(mu).add_(g, alpha=1 - group["dampening"])
    return g.add(m, alpha=mu) if group["nesterov"] else m


def adam(g: Tensor, state: State, group: Group, mean_square: MeanSquare) -> Tensor:
    """``m̂ / (√v̂ + ε)`` with ``m <- β₁m + (1-β₁)g``, ``v <- β₂v + (1-β₂)g²``, bias corrected."""
    beta1, beta2 = (float(beta) for beta in group["betas"])
    square = mean_square(g)
    if "step" not in state:
        state["step"] = torch.tensor(0.0)
        state["exp_avg"] = torch.zeros_like(g)
        state["exp_avg_sq"] = torch.zeros_like(square)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = torch.zeros_like(square)
    state["step"] += 1
    step = state["step"].item()
    m: Tensor = state["exp_avg"].lerp_(g, 1 - beta1)
    v = state["exp_avg_sq"].mul_(beta2).add_(square, alpha=1 - beta2)
    if group["amsgrad"]:
        v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
    scale = (v / (1 - beta2**step)).sqrt_().add_(group["eps"])
    d: Tensor = m / scale / (1 - beta1**step)
    return d


def rmsprop(g: Tensor, state: State, group: Group, mean_square: MeanSquare) -> Tensor:
    """``g / (√v + ε)`` with ``v <- αv + (1-α)g²``, accumulated as ``m <- μm + d`` with momentum."""
    alpha = group["alpha"]
    square = mean_square(g)
    if "square_avg" not in state:
        state["step"] = torch.tensor(0.0)  # torch's RMSprop expects one when it loads a state
        state["square_avg"] = torch.zeros_like(square)
    state["step"] += 1
    v = state["square_avg"].mul_(alpha).add_(square, alpha=1 - alpha)
    d: Tensor = g / v.sqrt().add_(group["eps"])
    if group["momentum"] == 0:
        return d
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(d)
    momentum: Tensor = state["momentum_buffer"]
    return momentum.mul_(group["momentum"]).add_(d)
