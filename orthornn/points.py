"""How an optimizer of plain parameters also moves points of a manifold: the one skeleton."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from geoopt import ManifoldParameter, ManifoldTensor
from torch import Tensor

from .manifold import Stiefel
from .update import Group, Rule, mean_square

Opt = TypeVar("Opt", bound=torch.optim.Optimizer)

ADAPTIVITIES = (None, "element", "matrix")

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


def riemannian(rule: Rule) -> Callable[[type[Opt]], type[Opt]]:
    """Teach an heir of a torch optimizer to move points by ``rule`` beside plain parameters."""

    def decorate(cls: type[Opt]) -> type[Opt]:
        euclidean: Any = cls.__mro__[1]

        def __setstate__(self: Opt, state: dict[str, Any]) -> None:
            _check_state(state)
            euclidean.__setstate__(self, state)

        def add_param_group(self: Opt, param_group: dict[str, Any]) -> None:
            self.defaults.setdefault("adaptivity", getattr(self, "_adaptivity", None))
            euclidean.add_param_group(self, param_group)
            try:
                _check_group(self.param_groups[-1])
            except ValueError:
                self.param_groups.pop()
                raise

        def _init_group(self: Opt, group: Group, *lists: Any) -> Any:
            plain = [p for p in group["params"] if not is_point(p)]
            return euclidean._init_group(self, {**group, "params": plain}, *lists)

        @torch.compiler.disable  # type: ignore[untyped-decorator]
        def step(self: Opt, closure: Callable[[], float] | None = None) -> float | None:
            """One step of every parameter; ``closure`` runs once, with gradients enabled."""
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            _check_gradients(self)  # before anything moves
            # torch wraps `step` with its hooks; the wrapper around ours runs them already
            plain_step = euclidean.step
            plain_step = plain_step.__wrapped__ if hasattr(plain_step, "hooked") else plain_step
            plain_step(self)
            _move(self, rule)
            return loss

        for method in (__setstate__, add_param_group, _init_group, step):
            setattr(cls, method.__name__, method)
        return cls

    return decorate


@torch.no_grad()
def _move(optimizer: torch.optim.Optimizer, rule: Rule) -> None:
    """Move every point that has a gradient by ``rule``; ``p.grad`` is never written."""
    for group in optimizer.param_groups:
        for x in group["params"]:
            if not is_point(x) or x.grad is None:
                continue
            egrad = -x.grad if group["maximize"] else x.grad
            elementwise = _has_frame(x) and group["adaptivity"] != "matrix"
            axes = tuple(range(-x.manifold.ndim, 0))
            moment = torch.square if elementwise else partial(mean_square, axes=axes)
            state, lr = optimizer.state[x], float(group["lr"])
            if _has_frame(x):
                d = rule(x.manifold.coordinates(x, egrad), state, group, moment)
                y = _retract(x, x.manifold.from_coordinates(x, -lr * d))
            else:
                d = rule(x.manifold.egrad2rgrad(x, egrad), state, group, moment)
                y = _retract(x, -lr * d)
                for key in TANGENT_STATE:
                    if key in state:
                        state[key].copy_(x.manifold.transp(x, y, state[key]))
            x.copy_(y)


def _retract(x: Tensor, u: Tensor) -> Tensor:
    """The point reached from x along u, or an error that leaves x where it is."""
    try:
        y: Tensor = x.manifold.retr(x, u)  # type: ignore[attr-defined]
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        y = torch.full_like(u, torch.nan)
    if not torch.isfinite(y).all():
        raise FloatingPointError(
            f"the step of a point of shape {tuple(x.shape)} is too large to retract; "
            f"the point was not moved"
        )
    return y


def is_point(p: Tensor) -> bool:
    """Whether ``p`` is a tensor of geoopt with a manifold."""
    return isinstance(p, (ManifoldParameter, ManifoldTensor))


def _has_frame(x: Tensor) -> bool:
    return isinstance(x.manifold, Stiefel) and x.shape[-2] == x.shape[-1]  # type: ignore[attr-defined]


def _check_group(group: Group) -> None:
    """Refuse the options that the points of a group cannot honour."""
    adaptivity = group["adaptivity"]
    if adaptivity not in ADAPTIVITIES:
        raise ValueError(f"adaptivity must be one of {list(ADAPTIVITIES)}, got {adaptivity!r}")
    for x in filter(is_point, group["params"]):
        if group["weight_decay"] != 0:
            raise ValueError(
                f"weight_decay must be 0 in a group with points of a manifold, got "
                f"{group['weight_decay']}: a point cannot shrink; see orthornn.param_groups"
            )
        for option in ("centered", "capturable", "differentiable", "fused"):
            if group.get(option):
                raise ValueError(f"{option}=True is not supported for points of a manifold")
        if not 0 <= group.get("alpha", 0) < 1:
            raise ValueError(f"alpha must be in [0, 1) for points, got {group['alpha']}")
        if adaptivity == "element" and not _has_frame(x):
            raise ValueError(
                f"adaptivity='element' needs square points of orthornn.Stiefel, got "
                f"{x.manifold} with shape {tuple(x.shape)}; use 'matrix'"
            )


def _check_state(state: dict[str, Any]) -> None:
    """Refuse the state of another optimizer, whose moments are in other coordinates."""
    for group in state["param_groups"]:
        if any(map(is_point, group["params"])):
            if "adaptivity" not in group:
                raise ValueError(
                    "expected the state of an orthornn optimizer for the points of a manifold, "
                    "got a group without 'adaptivity'; start from a fresh state instead"
                )
            _check_group(group)


def _check_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Refuse a step that would take a point where no point is."""
    for group in optimizer.param_groups:
        for x in filter(is_point, group["params"]):
            if x.grad is None:
                continue
            if x.grad.is_sparse:
                raise RuntimeError("sparse gradients are not supported for points of a manifold")
            if not torch.isfinite(x.grad).all():
                raise FloatingPointError(
                    f"the gradient of a point of shape {tuple(x.shape)} is not finite; "
                    f"no parameter was moved"
                )
