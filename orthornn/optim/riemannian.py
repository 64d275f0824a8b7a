"""How an optimizer of plain parameters also moves points of a manifold: the one skeleton."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul
from orthornn._torch_internals import disable_dynamo
from orthornn._validation import check_choice, short_repr
from orthornn.linalg import shorten, square_norm
from orthornn.manifolds import checks
from orthornn.manifolds.checks import is_point
from orthornn.manifolds.stiefel import Stiefel

from .coordinates import TANGENT_STATE, Chart, choose, count_rows, has_frame
from .rules import Group, Rule, State, mean_square

Opt = TypeVar("Opt", bound=torch.optim.Optimizer)

ADAPTIVITIES = (None, "element", "matrix")
ON_NONFINITE = ("raise", "skip")
# options that a state from an earlier version may lack
YOUNGER = {"on_nonfinite", "rows", "seed", "maximize", "foreach", "capturable", "differentiable",
           "fused", "decoupled_weight_decay"}  # fmt: skip

# Note [What lr measures]
# adaptivity="element" divides each entry of a by its own root mean square, "matrix" divides all
# by the root of the mean square over entries: in both, lr is the typical size of an entry of the
# step, so a tuned lr carries over. (geoopt divides by the Frobenius norm: its lr is n times ours.)
#
# Note [Nothing is damaged]
# A step first takes every gradient to its tangent space and looks at it; only then does anything
# move. What is not finite is refused (or skipped). What is finite but so large that its square
# overflows is scaled down to where it does not. A step longer than the manifold is wide, π√p,
# leads nowhere that a shorter one does not, and costs precision: it is shortened to that.


class Gradient(NamedTuple):
    """One point that is about to move."""

    x: Tensor
    g: Tensor
    """Its Riemannian gradient, in the coordinates of the chart."""
    chart: Chart
    group: Group


def riemannian(
    rule: Rule, square: bool = False, refused: tuple[str, ...] = ()
) -> Callable[[type[Opt]], type[Opt]]:
    """Teach an heir of a torch optimizer to move points by ``rule`` beside plain parameters.

    Args:
        rule: from gradient and moments to a direction.
        square: whether the rule needs the frame that only square points have.
        refused: options of the torch optimizer that the rule knows nothing of.
    """
    refused = (*refused, "centered", "capturable", "differentiable", "fused")

    def decorate(cls: type[Opt]) -> type[Opt]:
        euclidean: Any = cls.__mro__[1]

        def __setstate__(self: Opt, state: dict[str, Any]) -> None:
            _check_state(state, getattr(self, "defaults", {}), square, refused)
            euclidean.__setstate__(self, state)

        def add_param_group(self: Opt, param_group: dict[str, Any]) -> None:
            for option, value in getattr(self, "_of_points", {}).items():
                self.defaults.setdefault(option, value)
            euclidean.add_param_group(self, param_group)
            try:
                _check_group(self.param_groups[-1], square, refused)
            except Exception:
                self.param_groups.pop()
                raise

        def _init_group(self: Opt, group: Group, *lists: Any) -> Any:
            plain = [p for p in group["params"] if not is_point(p)]
            return euclidean._init_group(self, {**group, "params": plain}, *lists)

        @disable_dynamo
        def step(self: Opt, closure: Callable[[], float] | None = None) -> float | None:
            """One step of every parameter; ``closure`` runs once, with gradients enabled."""
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            with torch.no_grad(), full_precision_matmul(), _without_autocast():
                for group in self.param_groups:  # may have changed since it was added
                    _check_group(group, square, refused)
                gradients = list(_gradients(self))  # raises before anything moves
                _step_plain(self, euclidean.step)
                for gradient in gradients:
                    _move(gradient, self.state[gradient.x], rule)
            return loss

        for method in (__setstate__, add_param_group, _init_group, step):
            setattr(cls, method.__name__, method)
        return cls

    return decorate


def _step_plain(optimizer: torch.optim.Optimizer, step: Any) -> None:
    """The step of torch's own class, of the groups that hold a plain parameter."""
    groups = optimizer.param_groups
    plain = [group for group in groups if not all(map(is_point, group["params"]))]
    if not plain:
        return
    optimizer.param_groups = plain
    try:
        # torch wraps `step` with its hooks; the wrapper around ours runs them already
        (step.__wrapped__ if hasattr(step, "hooked") else step)(optimizer)
    finally:
        optimizer.param_groups = groups


def _without_autocast() -> contextlib.AbstractContextManager[Any]:
    """No autocast: a product in bfloat16 would throw a point off its manifold."""
    stack = contextlib.ExitStack()
    for device in ("cpu", "cuda"):
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    return stack


def _gradients(optimizer: torch.optim.Optimizer) -> Iterator[Gradient]:
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
            chart = choose(x, group, optimizer.state.get(x, {}))
            g = _tangent(chart, x, egrad if scale is None else egrad / scale)
            if g is not None:
                yield Gradient(x, g, chart, group)
            elif group["on_nonfinite"] == "raise":
                names = group.get("param_names")
                raise FloatingPointError(
                    f"the gradient of {repr(names[i]) if names else 'a point'} of shape "
                    f"{tuple(x.shape)} is not finite; no parameter was moved "
                    f"(on_nonfinite='skip' leaves such a point where it is and goes on)"
                )


def _tangent(chart: Chart, x: Tensor, egrad: Tensor) -> Tensor | None:
    """The Riemannian gradient, small enough that its squares are finite; None if not finite."""
    g = chart.gradient(x, egrad)
    blind = g.numel() < x.numel() and not math.isfinite(egrad.sum())  # a block sees its rows alone
    if blind and not bool(torch.isfinite(egrad).all()):
        return None
    if math.isfinite(square_norm(g)):
        return g
    peak = egrad.abs().max()
    if not bool(torch.isfinite(peak)):
        return None
    largest = math.sqrt(torch.finfo(g.dtype).max) / (8 * math.sqrt(g.numel()))
    g = chart.gradient(x, egrad / peak * largest)
    return g if bool(torch.isfinite(g).all()) else None


def _move(gradient: Gradient, state: State, rule: Rule) -> None:
    """One step of one point, and of its moments."""
    x, g, chart, group = gradient
    manifold: Any = x.manifold  # type: ignore[attr-defined]
    elementwise = chart.elementwise and group["adaptivity"] != "matrix"
    axes = tuple(range(-manifold.ndim, 0))
    moment = torch.square if elementwise else partial(mean_square, axes=axes)
    moments = chart.load(state)
    d, c = rule(g, moments, group, moment)
    c *= -float(group["lr"])
    if isinstance(manifold, Stiefel):
        width = math.pi * math.sqrt(min(x.shape[-2:]))
        d, c = shorten(d, c, width)
    x.copy_(chart.advance(x, d, c, moments, state))


def _check_group(group: Group, square: bool, refused: tuple[str, ...]) -> None:
    """Refuse the options that the points of a group cannot honour."""
    check_choice("adaptivity", group["adaptivity"], ADAPTIVITIES)
    check_choice("on_nonfinite", group["on_nonfinite"], ON_NONFINITE)
    if not math.isfinite(group["lr"]):
        raise ValueError(f"lr must be finite, got {float(group['lr'])}")
    for x in filter(is_point, group["params"]):
        _check_point(x, group, square, refused)


def _check_point(x: Any, group: Group, square: bool, refused: tuple[str, ...]) -> None:
    """Refuse the options of its group that this point cannot honour."""
    ok, reason = checks.dtype(x)
    if not ok:
        raise ValueError(f"a point of a manifold cannot be moved: {reason}")
    if group["weight_decay"] != 0:
        raise ValueError(
            f"weight_decay must be 0 in a group with points of a manifold, got "
            f"{group['weight_decay']}: a point cannot shrink; see orthornn.param_groups"
        )
    for option in refused:
        if group.get(option):
            raise ValueError(
                f"{option}={short_repr(group[option])} is not supported for points of a manifold"
            )
    if group.get("rows") is not None:
        if not has_frame(x):
            raise ValueError(f"rows needs square points, got {x.manifold} {tuple(x.shape)}")
        count_rows(group["rows"], x.shape[-1])
    if not 0 <= group.get("alpha", 0) < 1:
        raise ValueError(f"alpha must be in [0, 1) for points, got {group['alpha']}")
    if not group.get("eps", 1) >= torch.finfo(x.dtype).tiny:
        raise ValueError(
            f"eps must be positive for points (the diagonal of a skew gradient is 0), "
            f"got {group['eps']}"
        )
    if (square or group["adaptivity"] == "element") and not has_frame(x):
        what, way_out = (
            ("this optimizer", "") if square else ("adaptivity='element'", "; use 'matrix'")
        )
        raise ValueError(
            f"{what} needs square points of orthornn.Stiefel, got {x.manifold} with shape "
            f"{tuple(x.shape)}{way_out}"
        )


def _check_state(
    state: dict[str, Any], defaults: Group, square: bool, refused: tuple[str, ...]
) -> None:
    """Refuse the state of another optimizer, whose moments are in other coordinates."""
    for group in state["param_groups"]:
        group.setdefault("on_nonfinite", "raise")
        points = [x for x in group["params"] if is_point(x)]
        if not points:
            continue
        missing = sorted({"adaptivity", *defaults.keys()} - group.keys() - YOUNGER)
        if missing:
            raise ValueError(
                f"expected the state of an orthornn optimizer of the same kind for the points of a "
                f"manifold, got a group without {missing}; start from a fresh state instead"
            )
        _check_group(group, square, refused)
        for x in points:
            _check_moments(x, group, state["state"].get(x, {}))


def _check_moments(x: Any, group: Group, state: State) -> None:
    """Refuse moments of another shape, or of a frame's point that are not skew."""
    for key, value in state.items():
        if key == "step" or not isinstance(value, Tensor):
            continue
        tangent = key in TANGENT_STATE
        scalar = not tangent and (group["adaptivity"] == "matrix" or not has_frame(x))
        batch = x.shape[: x.ndim - x.manifold.ndim]
        shape = (*batch, *[1] * x.manifold.ndim) if scalar else x.shape
        if value.shape != shape:
            raise ValueError(f"expected {key} of shape {tuple(shape)}, got {tuple(value.shape)}")
        if tangent and has_frame(x) and not torch.allclose(value, -value.mT):
            raise ValueError(
                f"expected {key} in the Lie algebra of a square point, a skew matrix; got one that "
                f"is not: the state of another manifold?"
            )
