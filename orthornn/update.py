"""The update rules: from gradient and moments to a direction of descent, on any manifold.

A rule is ``(g, state, group, moment) -> (d, c)``: ``g`` is the Riemannian gradient in the frame
that the optimizer works in, ``state`` the moments (updated in place), ``group`` the options, and
``moment`` how g² is taken: elementwise, or one mean per point. The direction of descent is c d,
with c a number: kept apart, it costs no pass over memory. d is not to be written to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .linalg import skew_sign

State = dict[str, Any]
Group = dict[str, Any]
Moment = Callable[[Tensor], Tensor]
Direction = tuple[Tensor, float]
Rule = Callable[[Tensor, State, Group, Moment], Direction]


def counter(steps: float = 0.0) -> Tensor:
    """A count of steps as torch keeps it: in no lower precision than float32."""
    wide = torch.get_default_dtype() == torch.float64
    return torch.tensor(steps, dtype=torch.float64 if wide else torch.float32)


def mean_square(g: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean of g² over the axes of one point, kept as axes of size 1; g² itself for none."""
    return g.square().mean(axes, keepdim=True) if axes else g.square()


def sgd(g: Tensor, state: State, group: Group, _: Moment) -> Direction:
    """``m <- μ m + (1-τ) g``; the direction is m, or ``g + μ m`` with Nesterov's rule."""
    mu: float = group["momentum"]
    if mu == 0:
        return g, 1.0
    if "momentum_buffer" not in state:
        m: Tensor = g.clone()
        state["momentum_buffer"] = m
    else:
        m = state["momentum_buffer"].mul_(mu).add_(g, alpha=1 - group["dampening"])
    return (g.add(m, alpha=mu) if group["nesterov"] else m), 1.0


def adam(g: Tensor, state: State, group: Group, moment: Moment) -> Direction:
    """``m̂ / (√v̂ + ε)`` with ``m <- β₁m + (1-β₁)g``, ``v <- β₂v + (1-β₂)g²``, bias corrected."""
    beta1, beta2 = (float(beta) for beta in group["betas"])
    square = moment(g)
    if "step" not in state:
        state["step"] = counter()
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
    bias = math.sqrt(1 - beta2**step)  # of √v; the denominator is taken times it
    scale = v.sqrt().add_(group["eps"] * bias)
    d = torch.div(m, scale, out=scale) if scale.shape == m.shape else m / scale
    return d, bias / (1 - beta1**step)


def rmsprop(g: Tensor, state: State, group: Group, moment: Moment) -> Direction:
    """``g / (√v + ε)`` with ``v <- αv + (1-α)g²``, accumulated as ``m <- μm + d`` with momentum."""
    alpha = group["alpha"]
    square = moment(g)
    if "square_avg" not in state:
        state["step"] = counter()  # torch's RMSprop expects one when it loads a state
        state["square_avg"] = torch.zeros_like(square)
    state["step"] += 1
    v = state["square_avg"].mul_(alpha).add_(square, alpha=1 - alpha)
    d: Tensor = g / v.sqrt().add_(group["eps"])
    if group["momentum"] == 0:
        return d, 1.0
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(d)
    momentum: Tensor = state["momentum_buffer"]
    return momentum.mul_(group["momentum"]).add_(d), 1.0


def muon(g: Tensor, state: State, group: Group, _: Moment) -> Direction:
    """``√n sign(m)`` with ``m <- β₁m + (1-β₁)g`` and sign the polar factor; g is skew."""
    if "exp_avg" not in state:
        state["step"] = counter()
        state["exp_avg"] = torch.zeros_like(g)
    state["step"] += 1
    m: Tensor = state["exp_avg"].lerp_(g, 1 - float(group["betas"][0]))
    return skew_sign(m), math.sqrt(m.shape[-1])
