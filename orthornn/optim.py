"""Riemannian SGD, Adam and RMSprop: torch's optimizers that also move points of a manifold.

One object serves a whole model. Plain parameters go through torch's own code, untouched; a
``geoopt.ManifoldParameter`` goes through one skeleton (:mod:`orthornn.points`) with one rule per
optimizer (:mod:`orthornn.update`):

    g = frame coordinates of the Riemannian gradient
    d = rule(g, moments)                    a pure function, one per optimizer
    x = retraction of the step -lr d        moments carried along

References:
    Bécigneul & Ganea, "Riemannian Adaptive Optimization Methods", ICLR 2019.
    Lezcano-Casado & Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks", ICML 2019.
    Han, Poirion & Takeda, "Efficient Optimization with Orthogonality Constraint: a Randomized
    Riemannian Submanifold Method", ICML 2025.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from .points import riemannian
from .update import adam, rmsprop, sgd


@riemannian(sgd)
class RiemannianSGD(torch.optim.SGD):
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
        self._of_points = {
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


@riemannian(adam, refused=("rows",))
class RiemannianAdam(torch.optim.Adam):
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
        adaptivity: for points: ``"element"`` (one second moment per entry; square points only),
            ``"matrix"`` (one per point), None for element where square and matrix elsewhere.
        maximize: ascend instead.
        foreach, capturable, differentiable, fused, decoupled_weight_decay: of
            ``torch.optim.Adam``, for plain parameters.

    Raises:
        ValueError: for an unknown adaptivity, ``"element"`` on a point that is not square, a
            learning rate that is not finite, or a group of points with ``eps = 0``, weight decay,
            ``capturable``, ``differentiable`` or ``fused``.
        RuntimeError: by ``step``, for a sparse gradient of a point; nothing has moved.
        FloatingPointError: by ``step``, if a point's gradient is not finite; nothing has moved.
    """

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
        self._of_points = {"adaptivity": adaptivity, "on_nonfinite": on_nonfinite}
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


@riemannian(rmsprop)
class RiemannianRMSprop(torch.optim.RMSprop):
    """Riemannian RMSprop, elementwise in the Lie algebra where the point is square.

    ``v <- αv + (1-α)g²``, step ``-lr g / (√v + ε)``, through ``m <- μm + g/(√v + ε)`` with
    momentum. Plain parameters follow ``torch.optim.RMSprop`` exactly.

    Args:
        params: parameters or groups, plain and points mixed.
        lr: step size; for a point, the typical size of an entry of the step (of 1 - μ times the
            step, with momentum).
        alpha: decay rate α of the second moment.
        eps: ε.
        weight_decay: of plain parameters.
        momentum: μ.
        centered: of plain parameters; refused for points.
        adaptivity: as for :class:`RiemannianAdam`.
        on_nonfinite, rows, seed: as for :class:`RiemannianSGD`.
        maximize: ascend instead.
        foreach, capturable, differentiable: of ``torch.optim.RMSprop``, for plain parameters.

    Raises:
        ValueError: for an unknown adaptivity, ``"element"`` on a point that is not square, a
            learning rate that is not finite, or a group of points with ``alpha >= 1``,
            ``eps = 0``, weight decay, ``centered``, ``capturable`` or ``differentiable``.
        RuntimeError: by ``step``, for a sparse gradient of a point; nothing has moved.
        FloatingPointError: by ``step``, if a point's gradient is not finite; nothing has moved.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        adaptivity: str | None = None,
        on_nonfinite: str = "raise",
        rows: float | None = None,
        seed: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        self._of_points = {
            "adaptivity": adaptivity,
            "on_nonfinite": on_nonfinite,
            "rows": rows,
            "seed": seed,
        }
        super().__init__(
            params,
            lr,
            alpha,
            eps,
            weight_decay,
            momentum,
            centered,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )
