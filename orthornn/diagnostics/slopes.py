"""Slope checks: whether a manifold and a gradient do what they say.

Known from Manopt and pymanopt; see Boumal, "An Introduction to Optimization on Smooth Manifolds",
2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import geoopt
import torch
from torch import Tensor


class Slope(NamedTuple):
    """How fast an error falls with the step: ``error ~ step ** slope``."""

    slope: float
    """The measured exponent; Inf where the error is rounding alone, NaN where one is not finite."""
    expected: int
    steps: list[float]
    errors: list[float]

    @property
    def ok(self) -> bool:
        """Whether the error falls at least as fast as it should."""
        return self.slope > self.expected - 0.2


def check_retraction(
    manifold: geoopt.Manifold,
    x: Tensor,
    u: Tensor | None = None,
    geodesic: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Slope:
    """Whether ``retr(x, tu) = x + tu + O(t²)``: a slope of 2, where a wrong derivative gives 1.

    With ``geodesic=manifold.expmap`` the error is taken against that curve instead and is expected
    to fall as t³, as it does for a retraction of second order; one of first order gives 2.

    Args:
        manifold: any manifold of geoopt or of this library.
        x: a point of it; computed with in float64.
        u: a tangent vector at x; a random one of norm 1 if None.
        geodesic: ``(x, u)`` to a point.
    """
    x, u = _start_in_float64(manifold, x, u)
    curve = geodesic or torch.add
    return _measure_slope(
        lambda t: torch.linalg.vector_norm(manifold.retr(x, t * u) - curve(x, t * u)),
        torch.linalg.vector_norm(x),
        2 if geodesic is None else 3,
    )


def check_gradient(
    manifold: geoopt.Manifold,
    cost: Callable[[Tensor], Tensor],
    x: Tensor,
    u: Tensor | None = None,
) -> Slope:
    """Whether ``f(retr(x, tu)) = f(x) + t <grad f, u> + O(t²)``: a slope of 2; 1 if not.

    The gradient is ``egrad2rgrad`` of the one that autograd finds, the product the manifold's
    ``inner``; a wrong one of either, or a cost with a wrong backward, shows.

    Args:
        manifold: any manifold of geoopt or of this library.
        cost: a point to a scalar, differentiable.
        x: a point; computed with in float64.
        u: a tangent vector at x; a random one of norm 1 if None.
    """
    x, u = _start_in_float64(manifold, x, u)
    leaf = x.clone().requires_grad_()
    value = cost(leaf)
    (egrad,) = torch.autograd.grad(value, leaf)
    with torch.no_grad():
        value = value.detach()
        slope = manifold.inner(x, manifold.egrad2rgrad(x, egrad), u).sum()
        return _measure_slope(
            lambda t: (cost(manifold.retr(x, t * u)) - value - t * slope).abs(), value.abs(), 2
        )


def _start_in_float64(
    manifold: geoopt.Manifold, x: Tensor, u: Tensor | None
) -> tuple[Tensor, Tensor]:
    x = x.detach().double().as_subclass(Tensor)
    if u is None:
        u = manifold.proju(x, torch.randn_like(x))
        u = u / torch.linalg.vector_norm(u).clamp(min=torch.finfo(u.dtype).tiny)
    return x, u.detach().double()


def _measure_slope(error: Callable[[float], Tensor], scale: Tensor, expected: int) -> Slope:
    """The median slope between neighbouring steps, over the errors that are more than rounding."""
    steps = [10 ** (-1 - k / 4) for k in range(13)]
    errors = [float(error(t)) for t in steps]
    floor = 1e3 * torch.finfo(torch.float64).eps * max(1.0, float(scale))
    slopes = [
        math.log(errors[k] / errors[k + 1]) / math.log(steps[k] / steps[k + 1])
        for k in range(len(steps) - 1)
        if errors[k + 1] > floor and 0 < errors[k] < math.inf
    ]
    slopes.sort()
    slope = slopes[len(slopes) // 2] if slopes else math.inf
    return Slope(slope if all(map(math.isfinite, errors)) else math.nan, expected, steps, errors)
