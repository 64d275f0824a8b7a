"""The mixin of all optimizers: a step that also moves the points of a manifold."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn._torch_internals import disable_dynamo
from orthornn.linalg import clip_norm, square_norm
from orthornn.manifolds.checks import is_point
from orthornn.manifolds.stiefel import Stiefel

from .coordinates import Coordinates, choose_coordinates
from .rules import Direction, Group, Rule, SecondMoment, State, mean_square
from .validation import check_group, check_state

# Note [What lr measures]
# adaptivity="elementwise" divides each entry of a by its own root mean square, "scalar" divides
# all by the root of the mean square over entries: in both, lr is the typical size of an entry of
# the step, so a tuned lr carries over. (geoopt divides by the Frobenius norm: its lr is n times
# this one.)
#
# Note [Nothing is damaged]
# A step first takes every gradient to its tangent space and looks at it; only then does anything
# move. What is not finite is refused (or skipped). What is finite but so large that its square
# overflows is scaled down to where it does not. A step longer than the manifold is wide, π√p,
# leads nowhere that a shorter one does not, and costs precision: it is shortened to that.


class Riemannian(torch.optim.Optimizer):
    """Moves points of a manifold; stands before a torch optimizer, which moves all else.

    An optimizer is ``class RiemannianX(Riemannian, torch.optim.X)`` with a rule and a constructor
    that sets ``_point_options``, the options that torch's class does not know.
    """

    rule: ClassVar[staticmethod[[Tensor, State, Group, SecondMoment], Direction]]
    """From gradient and moments to a direction; see :mod:`orthornn.optim.rules`."""
    needs_square: ClassVar[bool] = False
    """Whether the rule needs the Lie algebra, which only square points have."""
    refused: ClassVar[tuple[str, ...]] = ("centered", "capturable", "differentiable", "fused")
    """Options of torch's class that the rule knows nothing of."""
    _point_options: Group

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_state(state, getattr(self, "defaults", {}), self.needs_square, self.refused)
        super().__setstate__(state)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group as torch's class does, unless its points cannot honour its options."""
        for option, value in getattr(self, "_point_options", {}).items():
            self.defaults.setdefault(option, value)
        super().add_param_group(param_group)
        try:
            check_group(self.param_groups[-1], self.needs_square, self.refused)
        except Exception:
            self.param_groups.pop()
            raise

    def _init_group(self, group: Group, *lists: Any) -> Any:
        plain = [p for p in group["params"] if not is_point(p)]
        return super()._init_group({**group, "params": plain}, *lists)  # type: ignore[misc]

    @disable_dynamo
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter; ``closure`` runs once, with gradients enabled."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad(), full_precision_matmul(), _without_autocast():
            for group in self.param_groups:  # may have changed since it was added
                check_group(group, self.needs_square, self.refused)
            gradients = list(_point_gradients(self))  # raises before anything moves
            self._step_plain(super().step)
            for gradient in gradients:
                _update_point(gradient, self.state[gradient.x], self.rule)
        return loss

    def _step_plain(self, step: Any) -> None:
        """The step of torch's own class, of the groups that hold a plain parameter."""
        groups = self.param_groups
        plain = [group for group in groups if not all(map(is_point, group["params"]))]
        if not plain:
            return
        self.param_groups = plain
        try:
            # torch wraps `step` with its hooks; the wrapper around this class's runs them already
            step.__wrapped__(self) if hasattr(step, "hooked") else step()
        finally:
            self.param_groups = groups


class PointGradient(NamedTuple):
    """One point that is about to move."""

    x: Tensor
    g: Tensor
    """Its Riemannian gradient, in these coordinates."""
    coordinates: Coordinates
    group: Group


def _without_autocast() -> contextlib.AbstractContextManager[Any]:
    """No autocast: a product in bfloat16 would throw a point off its manifold."""
    stack = contextlib.ExitStack()
    for device in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack


def _point_gradients(optimizer: torch.optim.Optimizer) -> Iterator[PointGradient]:
    """Every point that has a gradient, with its Riemannian gradient; ``x.grad`` is only read."""
    # a fused optimizer is handed GradScaler's scale and verdict instead of unscaled gradients
    scale = getattr(optimizer, "grad_scale", None)
    found_inf = getattr(optimizer, "found_inf", None)
    if found_inf is not None and found_inf.item():
        return
    for group in optimizer.param_groups:
        for i, x in enumerate(group["params"]):
            if not is_point(x) or x.grad is None:
                continue
            if x.grad.is_sparse:
                raise RuntimeError("sparse gradients are not supported for points of a manifold")
            egrad = -x.grad if group["maximize"] else x.grad
            coordinates = choose_coordinates(x, group, optimizer.state.get(x, {}))
            g = _riemannian_gradient(coordinates, x, egrad if scale is None else egrad / scale)
            if g is not None:
                yield PointGradient(x, g, coordinates, group)
            elif group["on_nonfinite"] == "raise":
                names = group.get("param_names")
                raise FloatingPointError(
                    f"the gradient of {repr(names[i]) if names else 'a point'} of shape "
                    f"{tuple(x.shape)} is not finite; no parameter was moved "
                    f"(on_nonfinite='skip' leaves such a point where it is and goes on)"
                )


def _riemannian_gradient(coordinates: Coordinates, x: Tensor, egrad: Tensor) -> Tensor | None:
    """The Riemannian gradient, small enough that its squares are finite; None if not finite."""
    g = coordinates.gradient(x, egrad)
    unseen = g.numel() < x.numel()  # a subset of rows sees these rows alone
    if unseen and not math.isfinite(egrad.sum()) and not bool(torch.isfinite(egrad).all()):
        return None
    if math.isfinite(square_norm(g)):
        return g
    peak = egrad.abs().max()
    if not bool(torch.isfinite(peak)):
        return None
    largest = math.sqrt(torch.finfo(g.dtype).max) / (8 * math.sqrt(g.numel()))
    g = coordinates.gradient(x, egrad / peak * largest)
    return g if bool(torch.isfinite(g).all()) else None


def _update_point(gradient: PointGradient, state: State, rule: Rule) -> None:
    """One step of one point, and of its moments."""
    x, g, coordinates, group = gradient
    manifold: Any = x.manifold  # type: ignore[attr-defined]
    elementwise = coordinates.elementwise and group["adaptivity"] != "scalar"
    axes = tuple(range(-manifold.ndim, 0))
    second_moment = torch.square if elementwise else partial(mean_square, axes=axes)
    moments = coordinates.moments(state)
    d, c = rule(g, moments, group, second_moment)
    c *= -float(group["lr"])
    if isinstance(manifold, Stiefel):
        d, c = clip_norm(d, c, math.pi * math.sqrt(min(x.shape[-2:])))
    x.copy_(coordinates.step(x, d, c, moments, state))
