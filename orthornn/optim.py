"""Riemannian SGD, Adam and RMSprop: torch's optimizers that also move points of a manifold.

One object serves a whole model. Plain parameters go through torch's own code, untouched; a
``geoopt.ManifoldParameter`` goes through :func:`_move`, one skeleton for all three rules:

    g = frame coordinates of the Riemannian gradient
    d = rule(g, moments)                    a pure function, one per optimizer
    x = retraction of the step -lr d        moments carried along

References:
    Bécigneul & Ganea, "Riemannian Adaptive Optimization Methods", ICLR 2019.
    Lezcano-Casado & Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks", ICML 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from geoopt import ManifoldParameter, ManifoldTensor
from torch import Tensor, nn

from .manifold import Stiefel

Rule = Callable[[Tensor, dict[str, Any], dict[str, Any], Callable[[Tensor], Tensor]], Tensor]

ADAPTIVITIES = ("element", "matrix")

# Note [Frames]
# At a square point x of the orthogonal group every tangent vector is x a with a skew, and a is
# the same matrix at every point (the frame is left-invariant). Moments are kept as such a: they
# need no transport, and dividing a elementwise by the root of its own (symmetric) second moment
# leaves it skew. A tall point has no such frame: its moments are ambient tangent vectors, carried
# by the manifold's transport, and only a scalar may divide them.
#
# Note [What lr measures]
# adaptivity="element" divides each entry of a by its own root mean square, "matrix" divides all
# by the root of the mean square over entries: in both, lr is the typical size of an entry of the
# step, so a tuned lr carries over. (geoopt divides by the Frobenius norm: its lr is n times ours.)

TANGENT_STATE = ("momentum_buffer", "exp_avg")


def param_groups(
    model: nn.Module, lr: float, lr_ortho: float | None = None, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Two parameter groups, plain and orthogonal, so that one optimizer serves the whole model.

    Args:
        model: any module; points are the ``geoopt.ManifoldParameter`` in it.
        lr: step size of the plain parameters.
        lr_ortho: step size of the points; ``lr / 10`` if None, the ratio of expRNN.
        weight_decay: of the plain parameters; a point has norm √n and cannot decay.

    Returns:
        The groups that are not empty, each with its ``lr`` and ``weight_decay``.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for p in params if not _is_point(p)],
            "lr": lr,
            "weight_decay": weight_decay,
        },
        {
            "params": [p for p in params if _is_point(p)],
            "lr": lr / 10 if lr_ortho is None else lr_ortho,
            "weight_decay": 0.0,
        },
    ]
    return [group for group in groups if group["params"]]


class RiemannianSGD(torch.optim.SGD):
    """Riemannian stochastic gradient descent, ``x <- retr(x, -lr m)``, ``m <- μ m + (1-τ) g``.

    g is the Riemannian gradient ``x skew(xᵀ∂f/∂x)`` (with the ½ of skew). Plain parameters follow
    ``torch.optim.SGD`` exactly.

    Args:
        params: parameters or groups, plain and points mixed.
        lr: step size; for a point, the step is lr times the Riemannian gradient.
        momentum: μ.
        dampening: τ; the first m is g itself.
        nesterov: step along ``g + μ m`` instead of m.
        weight_decay, maximize, foreach, fused: of ``torch.optim.SGD``, for plain parameters;
            ``maximize`` holds for points too.

    Raises:
        ValueError: for a group with points and weight decay.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        _check_group(self)

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        return super()._init_group(_plain(group), *lists)  # type: ignore[misc]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; ``closure`` is run once, with gradients enabled."""
        loss = _unhooked(torch.optim.SGD.step)(self, closure)
        _move(self, _sgd)
        return loss


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
        amsgrad: use the largest v so far.
        adaptivity: for points: ``"element"`` (one second moment per entry; square points only),
            ``"matrix"`` (one per point), None for element where square and matrix elsewhere.
        weight_decay, maximize, foreach, fused: of ``torch.optim.Adam``, for plain parameters;
            ``maximize`` holds for points too.

    Raises:
        ValueError: for an unknown adaptivity, ``"element"`` on a tall point, or a group with
            points and weight decay.
    """

    def __init__(
        self, params: Any, *args: Any, adaptivity: str | None = None, **options: Any
    ) -> None:
        self._adaptivity = _check_adaptivity(adaptivity)
        super().__init__(params, *args, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        param_group.setdefault("adaptivity", self._adaptivity)
        super().add_param_group(param_group)
        _check_group(self)

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        return super()._init_group(_plain(group), *lists)  # type: ignore[misc]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; ``closure`` is run once, with gradients enabled."""
        loss = _unhooked(torch.optim.Adam.step)(self, closure)
        _move(self, _adam)
        return loss


class RiemannianRMSprop(torch.optim.RMSprop):
    """Riemannian RMSprop, elementwise in the Lie algebra where the point is square.

    ``v <- αv + (1-α)g²``, step ``-lr g / (√v + ε)``, through ``m <- μm + g/(√v + ε)`` with
    momentum. Plain parameters follow ``torch.optim.RMSprop`` exactly.

    Args:
        params: parameters or groups, plain and points mixed.
        lr: step size; for a point, the typical size of an entry of the step.
        alpha: decay rate α of the second moment.
        eps: ε.
        momentum: μ.
        adaptivity: as for :class:`RiemannianAdam`.
        weight_decay, centered, maximize, foreach: of ``torch.optim.RMSprop``, for plain
            parameters; ``maximize`` holds for points too, ``centered`` is refused for them.

    Raises:
        ValueError: for an unknown adaptivity, ``"element"`` on a tall point, or a group with
            points and weight decay or ``centered``.
    """

    def __init__(
        self, params: Any, *args: Any, adaptivity: str | None = None, **options: Any
    ) -> None:
        self._adaptivity = _check_adaptivity(adaptivity)
        super().__init__(params, *args, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        param_group.setdefault("adaptivity", self._adaptivity)
        super().add_param_group(param_group)
        _check_group(self)

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        return super()._init_group(_plain(group), *lists)  # type: ignore[misc]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; ``closure`` is run once, with gradients enabled."""
        loss = _unhooked(torch.optim.RMSprop.step)(self, closure)
        _move(self, _rmsprop)
        return loss


def _sgd(
    g: Tensor,
    state: dict[str, Any],
    group: dict[str, Any],
    mean_square: Callable[[Tensor], Tensor],
) -> Tensor:
    mu = group["momentum"]
    if mu == 0:
        return g
    if "momentum_buffer" not in state:
        m = state["momentum_buffer"] = g.clone()
    else:
        m = state["momentum_buffer"].mul_(mu).add_(g, alpha=1 - group["dampening"])
    return g + mu * m if group["nesterov"] else m


def _adam(
    g: Tensor,
    state: dict[str, Any],
    group: dict[str, Any],
    mean_square: Callable[[Tensor], Tensor],
) -> Tensor:
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
    m = state["exp_avg"].lerp_(g, 1 - beta1)
    v = state["exp_avg_sq"].mul_(beta2).add_(square, alpha=1 - beta2)
    if group["amsgrad"]:
        v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
    scale = (v / (1 - beta2**step)).sqrt_().add_(group["eps"])
    return m / scale / (1 - beta1**step)


def _rmsprop(
    g: Tensor,
    state: dict[str, Any],
    group: dict[str, Any],
    mean_square: Callable[[Tensor], Tensor],
) -> Tensor:
    alpha = group["alpha"]
    square = mean_square(g)
    if "square_avg" not in state:
        state["square_avg"] = torch.zeros_like(square)
    v = state["square_avg"].mul_(alpha).add_(square, alpha=1 - alpha)
    d = g / v.sqrt().add_(group["eps"])
    if group["momentum"] == 0:
        return d
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(d)
    momentum: Tensor = state["momentum_buffer"]
    return momentum.mul_(group["momentum"]).add_(d)


@torch.no_grad()
def _move(optimizer: torch.optim.Optimizer, rule: Rule) -> None:
    """Move every point that has a gradient by ``rule``; ``p.grad`` is never written."""
    for group in optimizer.param_groups:
        for x in group["params"]:
            if not _is_point(x) or x.grad is None:
                continue
            _check_gradient(x)
            egrad = -x.grad if group["maximize"] else x.grad
            square = x.shape[-2] == x.shape[-1] and isinstance(x.manifold, Stiefel)
            elementwise = square and group.get("adaptivity") != "matrix"
            moment = torch.square if elementwise else _matrix_square
            state, lr = optimizer.state[x], float(group["lr"])
            if square:
                d = rule(x.manifold.coordinates(x, egrad), state, group, moment)
                y = x.manifold.retr(x, x.manifold.from_coordinates(x, -lr * d))
            else:
                d = rule(x.manifold.egrad2rgrad(x, egrad), state, group, moment)
                y = x.manifold.retr(x, -lr * d)
                for key in TANGENT_STATE:
                    if key in state:
                        state[key].copy_(x.manifold.transp(x, y, state[key]))
            x.copy_(y)


def _matrix_square(g: Tensor) -> Tensor:
    return g.square().mean((-2, -1), keepdim=True)


def _is_point(p: Tensor) -> bool:
    return isinstance(p, (ManifoldParameter, ManifoldTensor))


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    """The group as torch's own code is to see it: without the points."""
    return {**group, "params": [p for p in group["params"] if not _is_point(p)]}


def _unhooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` without the wrapper of torch's step hooks, which our own ``step`` runs already."""
    return step.__wrapped__ if hasattr(step, "hooked") else step  # type: ignore[attr-defined, no-any-return]


def _check_adaptivity(adaptivity: str | None) -> str | None:
    if adaptivity is not None and adaptivity not in ADAPTIVITIES:
        raise ValueError(
            f"adaptivity must be None or one of {list(ADAPTIVITIES)}, got {adaptivity!r}"
        )
    return adaptivity


def _check_group(optimizer: torch.optim.Optimizer) -> None:
    """Refuse, in the newest group, the options that a point cannot honour."""
    group = optimizer.param_groups[-1]
    points: Iterable[Tensor] = [p for p in group["params"] if _is_point(p)]
    for x in points:
        if group["weight_decay"] != 0:
            optimizer.param_groups.pop()
            raise ValueError(
                f"weight_decay must be 0 in a group with points of a manifold, got "
                f"{group['weight_decay']}: a point cannot shrink; see orthornn.param_groups"
            )
        for option in ("centered", "capturable", "differentiable", "fused"):
            if group.get(option):
                optimizer.param_groups.pop()
                raise ValueError(f"{option}=True is not supported for points of a manifold")
        if group.get("adaptivity") == "element" and x.shape[-2] != x.shape[-1]:
            optimizer.param_groups.pop()
            raise ValueError(
                f"adaptivity='element' needs square points, got shape {tuple(x.shape)}; "
                f"use adaptivity='matrix'"
            )


def _check_gradient(x: Tensor) -> None:
    g = x.grad
    assert g is not None
    if g.is_sparse:
        raise RuntimeError("sparse gradients are not supported for points of a manifold")
    if not torch.isfinite(g).all():
        raise FloatingPointError(
            f"the gradient of a point of shape {tuple(x.shape)} is not finite; it was not moved"
        )
