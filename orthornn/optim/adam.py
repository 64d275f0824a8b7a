"""Riemannian Adam: moments in the Lie algebra where the point is square.

References:
    Bécigneul & Ganea, "Riemannian Adaptive Optimization Methods", ICLR 2019.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from .riemannian import Riemannian
from .rules import Direction, Group, SecondMoment, State, step_counter


def adam(g: Tensor, state: State, group: Group, second_moment: SecondMoment) -> Direction:
    """``m̂ / (√v̂ + ε)`` with ``m <- β₁m + (1-β₁)g``, ``v <- β₂v + (1-β₂)g²``, bias corrected."""
    beta1, beta2 = (float(beta) for beta in group["betas"])
    square = second_moment(g)
    if "step" not in state:
        state["step"] = step_counter()
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


class RiemannianAdam(Riemannian, torch.optim.Adam):
    """Riemannian Adam (Bécigneul & Ganea, 2019), elementwise in the Lie algebra where square.

    ``m <- β₁m + (1-β₁)g``, ``v <- β₂v + (1-β₂)g²``, step ``-lr m̂ / (√v̂ + ε)`` with the usual
    bias corrections. g² is elementwise or a mean; see ``adaptivity``. Plain parameters follow
    ``torch.optim.Adam`` exactly.

    Args:
        params: parameters or groups, plain and points mixed.
        lr: step size; for a point, the typical size of an entry of the step.
        betas: decay rates (β₁, β₂).
        eps: ε.
        weight_decay: of plain parameters.
        amsgrad: use the largest v so far.
        adaptivity: for points: ``"elementwise"`` (one second moment per entry; square points
            only), ``"scalar"`` (one per point), None for elementwise where square and scalar
            elsewhere.
        maximize: ascend instead.
        foreach, capturable, differentiable, fused, decoupled_weight_decay: of
            ``torch.optim.Adam``, for plain parameters.

    Raises:
        ValueError: for an unknown adaptivity, ``"elementwise"`` on a point that is not square, a
            learning rate that is not finite, or a group of points with ``eps = 0``, weight decay,
            ``capturable``, ``differentiable`` or ``fused``.
        RuntimeError: by ``step``, for a sparse gradient of a point; nothing has moved.
        FloatingPointError: by ``step``, if a point's gradient is not finite; nothing has moved.
    """

    rule = staticmethod(adam)
    refused = (*Riemannian.refused, "rows")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        adaptivity: str | None = None,
        on_nonfinite: str = "raise",
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self._point_options = {"adaptivity": adaptivity, "on_nonfinite": on_nonfinite}
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )
