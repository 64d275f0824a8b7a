"""Muon on the orthogonal group: steepest descent where a step is measured by its largest angle.

References:
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    Yang & Lai, "Manifold constrained steepest descent", 2026.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from orthornn.linalg import skew_sign

from .riemannian import Riemannian
from .rules import Direction, Group, SecondMoment, State, step_counter


def muon(g: Tensor, state: State, group: Group, _: SecondMoment) -> Direction:
    """``√n sign(m)`` with ``m <- β₁m + (1-β₁)g`` and sign the polar factor; g is skew."""
    if "exp_avg" not in state:
        state["step"] = step_counter()
        state["exp_avg"] = torch.zeros_like(g)
    state["step"] += 1
    m: Tensor = state["exp_avg"].lerp_(g, 1 - float(group["betas"][0]))
    return skew_sign(m), math.sqrt(m.shape[-1])


class RiemannianMuon(Riemannian, torch.optim.Adam):
    """Spectral steepest descent, ``x <- retr(x, -lr √n x sign(m))``, ``m <- β₁m + (1-β₁)a``.

    a is the Riemannian gradient in the Lie algebra, ``skew(xᵀ∂f/∂x)``, and sign the polar factor.
    Among the skew d with spectral norm at most 1, ``-sign(a)`` has the steepest descent: every
    plane turns by the same angle ``lr √n``, however weak its gradient. The polar factor of a skew
    matrix is skew, so on square points this is exact. Plain parameters follow
    ``torch.optim.Adam`` exactly.

    It learns more steadily than the others where W has far to go, and is slower from a good start;
    lr has to decay. A step costs three to five times that of :class:`~orthornn.RiemannianAdam`: the
    sign is an SVD or 36 products.

    Args:
        params: parameters or groups, plain and points mixed.
        lr: step size; for a point, the typical size of an entry of the step.
        betas: decay rates; for points the first alone, that of the momentum.
        eps: of plain parameters.
        weight_decay: of plain parameters.
        on_nonfinite: as for :class:`~orthornn.RiemannianSGD`.
        maximize: ascend instead.
        foreach, capturable, differentiable, fused, decoupled_weight_decay: of
            ``torch.optim.Adam``, for plain parameters.

    Raises:
        ValueError: for a point that is not square, a learning rate that is not finite, or a group
            of points with weight decay, ``amsgrad``, ``capturable``, ``differentiable`` or
            ``fused``.
        RuntimeError: by ``step``, for a sparse gradient of a point; nothing has moved.
        FloatingPointError: by ``step``, if a point's gradient is not finite; nothing has moved.
    """

    rule = staticmethod(muon)
    needs_square = True
    refused = (*Riemannian.refused, "amsgrad", "rows")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        on_nonfinite: str = "raise",
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self._point_options = {"adaptivity": None, "on_nonfinite": on_nonfinite}
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )
