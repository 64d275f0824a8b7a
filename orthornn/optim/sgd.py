"""Riemannian stochastic gradient descent, with momentum and a choice of rows.

References:
    Han, Poirion & Takeda, "Efficient Optimization with Orthogonality Constraint: a Randomized
    Riemannian Submanifold Method", ICML 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from .riemannian import Riemannian
from .rules import Direction, Group, SecondMoment, State


def sgd(g: Tensor, state: State, group: Group, _: SecondMoment) -> Direction:
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


class RiemannianSGD(Riemannian, torch.optim.SGD):
    """Riemannian stochastic gradient descent, ``x <- retr(x, -lr m)``, ``m <- μ m + (1-τ) g``.

    g is the Riemannian gradient of the point's metric, ``x skew(xᵀ∂f/∂x)`` at a square x in the
    Euclidean one (with the ½ of skew). Plain parameters follow
    ``torch.optim.SGD`` exactly.

    Args:
        params: parameters or groups, plain and points mixed.
        lr: step size; for a point, the step is lr times the Riemannian gradient.
        momentum: μ.
        dampening: τ; the first m is g itself.
        weight_decay: of plain parameters.
        nesterov: step along ``g + μ m`` instead of m.
        maximize: ascend instead.
        on_nonfinite: what a step does about a point whose gradient is not finite: ``"raise"``, or
            ``"skip"``, which leaves the point and its moments as they are and moves the others.
        rows: for square points: move, at each step, only so many rows (an int from 2 to n, or a
            share of them), drawn anew (Han et al., ICML 2025). With a quarter of the rows a step
            costs a sixth at n = 512; it takes more steps and a larger lr. None moves all.
        seed: of that draw; which rows move at which step follows from it alone.
        foreach, differentiable, fused: of ``torch.optim.SGD``, for plain parameters.

    Raises:
        ValueError: for a learning rate that is not finite, and for a group of points with weight
            decay, ``fused`` or ``differentiable``.
        RuntimeError: by ``step``, for a sparse gradient of a point; nothing has moved.
        FloatingPointError: by ``step``, if a point's gradient is not finite; nothing has moved.
    """

    rule = staticmethod(sgd)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        on_nonfinite: str = "raise",
        rows: float | None = None,
        seed: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        self._point_options = {
            "adaptivity": None,
            "on_nonfinite": on_nonfinite,
            "rows": rows,
            "seed": seed,
        }
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )
