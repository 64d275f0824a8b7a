"""Riemannian RMSprop: the second moment in the Lie algebra where the point is square.

References:
    Lezcano-Casado & Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks", ICML 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from .riemannian import Riemannian
from .rules import Direction, Group, SecondMoment, State, step_counter


def rmsprop(g: Tensor, state: State, group: Group, second_moment: SecondMoment) -> Direction:
    """``g / (√v + ε)`` with ``v <- αv + (1-α)g²``, accumulated as ``m <- μm + d`` with momentum."""
    alpha = group["alpha"]
    square = second_moment(g)
    if "square_avg" not in state:
        state["step"] = step_counter()  # torch's RMSprop expects one when it loads a state
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


class RiemannianRMSprop(Riemannian, torch.optim.RMSprop):
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
        ValueError: for an unknown adaptivity, ``"elementwise"`` on a point that is not square, a
            learning rate that is not finite, or a group of points with ``alpha >= 1``,
            ``eps = 0``, weight decay, ``centered``, ``capturable`` or ``differentiable``.
        RuntimeError: by ``step``, for a sparse gradient of a point; nothing has moved.
        FloatingPointError: by ``step``, if a point's gradient is not finite; nothing has moved.
    """

    rule = staticmethod(rmsprop)

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
        self._point_options = {
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
