"""Which options and states an optimizer of points refuses, and why."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from orthornn._validation import check_choice, short_repr
from orthornn.manifolds import checks
from orthornn.manifolds.checks import is_point

from .coordinates import TANGENT_MOMENTS, count_rows, has_lie_algebra
from .rules import Group, State

ADAPTIVITIES = (None, "elementwise", "scalar")
FORMER_ADAPTIVITIES = {"element": "elementwise", "matrix": "scalar"}  # in older states
ON_NONFINITE = ("raise", "skip")
ADDED_LATER = {  # options that a state from an earlier version may lack
    "on_nonfinite",
    "rows",
    "seed",
    "maximize",
    "foreach",
    "capturable",
    "differentiable",
    "fused",
    "decoupled_weight_decay",
}


def check_group(group: Group, square: bool, refused: tuple[str, ...]) -> None:
    """Refuse the options that the points of a group cannot honour."""
    adaptivity = group["adaptivity"]
    if isinstance(adaptivity, str) and adaptivity in FORMER_ADAPTIVITIES:
        raise ValueError(
            f"adaptivity={adaptivity!r} is now called {FORMER_ADAPTIVITIES[adaptivity]!r}"
        )
    check_choice("adaptivity", adaptivity, ADAPTIVITIES)
    check_choice("on_nonfinite", group["on_nonfinite"], ON_NONFINITE)
    if not math.isfinite(group["lr"]):
        raise ValueError(f"lr must be finite, got {float(group['lr'])}")
    for x in filter(is_point, group["params"]):
        _check_point(x, group, square, refused)


def _check_point(x: Any, group: Group, square: bool, refused: tuple[str, ...]) -> None:
    """Refuse the options of its group that this point cannot honour."""
    ok, reason = checks.check_dtype(x)
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
        if not has_lie_algebra(x):
            raise ValueError(f"rows needs square points, got {x.manifold} {tuple(x.shape)}")
        count_rows(group["rows"], x.shape[-1])
    if not 0 <= group.get("alpha", 0) < 1:
        raise ValueError(f"alpha must be in [0, 1) for points, got {group['alpha']}")
    if not group.get("eps", 1) >= torch.finfo(x.dtype).tiny:
        raise ValueError(
            f"eps must be positive for points (the diagonal of a skew gradient is 0), "
            f"got {group['eps']}"
        )
    if (square or group["adaptivity"] == "elementwise") and not has_lie_algebra(x):
        asker = "this optimizer" if square else "adaptivity='elementwise'"
        advice = "" if square else "; use 'scalar'"
        raise ValueError(
            f"{asker} needs square points of orthornn.Stiefel, got {x.manifold} with shape "
            f"{tuple(x.shape)}{advice}"
        )


def check_state(
    state: dict[str, Any], defaults: Group, square: bool, refused: tuple[str, ...]
) -> None:
    """Refuse the state of another optimizer, whose moments are in other coordinates.

    What an earlier version of this one has left out, or named otherwise, is put right in place.
    """
    for options in (*state["param_groups"], *filter(None, [state.get("defaults")])):
        former = options.get("adaptivity")
        if former in FORMER_ADAPTIVITIES:
            options["adaptivity"] = FORMER_ADAPTIVITIES[former]
    for group in state["param_groups"]:
        group.setdefault("on_nonfinite", "raise")
        points = [x for x in group["params"] if is_point(x)]
        if not points:
            continue
        missing = sorted({"adaptivity", *defaults.keys()} - group.keys() - ADDED_LATER)
        if missing:
            raise ValueError(
                f"expected the state of an orthornn optimizer of the same kind for the points of a "
                f"manifold, got a group without {missing}; start from a fresh state instead"
            )
        check_group(group, square, refused)
        for x in points:
            _check_moments(x, group, state["state"].get(x, {}))


def _check_moments(x: Any, group: Group, state: State) -> None:
    """Refuse moments of another shape, or of a square point that are not skew."""
    for key, value in state.items():
        if key == "step" or not isinstance(value, Tensor):
            continue
        tangent = key in TANGENT_MOMENTS
        scalar = not tangent and (group["adaptivity"] == "scalar" or not has_lie_algebra(x))
        batch = x.shape[: x.ndim - x.manifold.ndim]
        shape = (*batch, *[1] * x.manifold.ndim) if scalar else x.shape
        if value.shape != shape:
            raise ValueError(f"expected {key} of shape {tuple(shape)}, got {tuple(value.shape)}")
        if tangent and has_lie_algebra(x) and not torch.allclose(value, -value.mT):
            raise ValueError(
                f"expected {key} in the Lie algebra of a square point, a skew matrix; got one that "
                f"is not: the state of another manifold?"
            )
