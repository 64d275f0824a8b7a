"""The two metrics of the Stiefel manifold: inner product, gradient, geodesic, transport, logarithm.

Everything here is for points x of shape ``(..., n, p)`` with n >= p and orthonormal columns.

References:
    Edelman, Arias & Smith, "The Geometry of Algorithms with Orthogonality Constraints", 1998.
    Bryner, "Endpoint Geodesics on the Stiefel Manifold Embedded in Euclidean Space", 2017.
    Zimmermann & Hüper, "Computing the Riemannian Logarithm on the Stiefel Manifold", 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from orthornn import linalg
from orthornn.linalg import skew, sym

# Note [Transport by a rotation]
# An orthogonal q of size n with q x = y maps the tangent space at x isometrically onto that at y
# by v -> q v, in both metrics. Let m = xᵀy have the polar factor o and y' = y oᵀ, so that xᵀy' is
# symmetric and non-negative. The reflection about the span of s = x + y' then takes x to y', and
#     q = (2 s (sᵀs)⁻¹ sᵀ - I) (2 x xᵀ - I) (x o xᵀ + I - x xᵀ)
# takes x to y, tends to the identity with y -> x, and sᵀs = 2 (I + xᵀy') is never close to
# singular. For square x it is y xᵀ; for one column, and an angle below π/2, the parallel transport
# of the sphere.

MAX_ITERATIONS = 300  # steps of the logarithm before it gives up
ANDERSON_WINDOW = 6  # of its steps that Anderson's acceleration combines


class Metric(NamedTuple):
    """One row of the table: what depends on the metric."""

    inner: Callable[[Tensor, Tensor, Tensor], Tensor]
    """``(x, u, v) -> <u, v>`` of shape ``(..., 1, 1)``."""
    gradient: Callable[[Tensor, Tensor], Tensor]
    """``(x, g)`` to the tangent vector that represents the Euclidean gradient g."""
    geodesic: Callable[[Tensor, Tensor], Tensor]
    """``(x, u)`` to the point at time 1 of the geodesic that leaves x with velocity u."""
    square_gradient: float
    """c in ``gradient = x c skew(xᵀg)`` for square x."""


def tangent(x: Tensor, u: Tensor) -> Tensor:
    """``u - x sym(xᵀu)``, the orthogonal projection on the tangent space in both metrics."""
    return linalg.add_product(u, x, sym(x.mT @ u), -1.0)


def euclidean_inner(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """``tr(uᵀv)``."""
    return (u * v).sum((-2, -1), keepdim=True)


def canonical_inner(x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """``tr(uᵀ(I - ½xxᵀ)v)``: rotations within the span of x count half."""
    return euclidean_inner(x, u, v) - euclidean_inner(x, x.mT @ u, x.mT @ v) / 2


def canonical_gradient(x: Tensor, g: Tensor) -> Tensor:
    """``g - x gᵀx``."""
    return g - x @ (g.mT @ x)


def euclidean_geodesic(x: Tensor, u: Tensor) -> Tensor:
    """``exp(uxᵀ - xuᵀ) x exp(-a)`` with ``a = xᵀu``.

    For square x it is ``x exp(a)``. For a tall one the large exponential acts in the span of x and
    q, where ``qr = (I - xxᵀ)u``: it is ``[x q] exp([[2a, -rᵀ], [r, 0]]) [I; 0] exp(-a)``. Equal to
    the form of Edelman et al. (1998), but of skew matrices alone, which cannot overflow. A polar
    step follows, because rounding would accumulate over steps.
    """
    a = skew(x.mT @ u)
    if x.shape[-2] == x.shape[-1]:
        return square_geodesic(x, a)
    return linalg.polar(_rotate_in_span(x, u, a, 2 * a) @ linalg.exp(-a))


def canonical_geodesic(x: Tensor, u: Tensor) -> Tensor:
    """``[x q] exp([[a, -rᵀ], [r, 0]]) [I; 0]`` with ``a = xᵀu`` and ``qr = (I - xxᵀ)u``.

    For square x it is ``x exp(a)``, as with the Euclidean metric.
    """
    a = skew(x.mT @ u)
    if x.shape[-2] == x.shape[-1]:
        return square_geodesic(x, a)
    return linalg.polar(_rotate_in_span(x, u, a, a))


def square_geodesic(x: Tensor, a: Tensor) -> Tensor:
    """``x exp(a)``, the geodesic of both metrics along ``x a`` at a square x."""
    return linalg.polar(x @ linalg.exp(a))


METRICS: dict[str, Metric] = {
    "euclidean": Metric(euclidean_inner, tangent, euclidean_geodesic, 1.0),
    "canonical": Metric(canonical_inner, canonical_gradient, canonical_geodesic, 2.0),
}


def transport(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """The tangent ``v`` at x carried to y by a rotation; isometric in both metrics and linear.

    See Note [Transport by a rotation]. For square points it is ``y xᵀv``.
    """
    a = x.mT @ v
    if x.shape[-2] == x.shape[-1]:
        return y @ skew(a)
    m = x.mT @ y
    o = linalg.polar(m)
    t = x @ (o @ a) - (v - x @ a)
    s = x + y @ o.mT
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    carried: Tensor = s @ torch.linalg.solve(eye + sym(m @ o.mT), s.mT @ t) - t
    return carried


def logarithm(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    """The tangent u at x whose geodesic reaches y at time 1.

    In closed form for square points, ``x log(xᵀy)``, and on the sphere (p = 1). Otherwise by
    shooting with Anderson's acceleration: follow the geodesic of u, carry what is missing back to
    x, add it. That converges up to a distance of 2, often somewhat farther; two random points are
    mostly out of reach. No derivative for square points.

    Raises:
        ValueError: for square points of different determinant, between which there is no path.
        RuntimeError: if the shooting does not converge.
    """
    shape = torch.broadcast_shapes(x.shape, y.shape)  # type: ignore[no-untyped-call]
    x, y = x.expand(shape), y.expand(shape)
    n, p = x.shape[-2:]
    if n == p:
        q = x.mT @ y
        if bool((torch.linalg.slogdet(q).sign < 0).any()):
            raise ValueError("there is no geodesic between points of different determinant")
        return x @ linalg.log(q)
    if p == 1:
        c = x.mT @ y
        w = y - x * c
        s = torch.linalg.vector_norm(w, dim=-2, keepdim=True)
        u = w * torch.where(s > 0, torch.atan2(s, c) / s, 1)
        return torch.where((s == 0) & (c < 0), _half_circle(x), u)
    if n > 2 * p:  # the geodesic stays in the span of x and y: solve in 2p dimensions
        a = x.mT @ y
        q, r = torch.linalg.qr(y - x @ a)
        start = torch.eye(2 * p, p, dtype=x.dtype, device=x.device).expand(*x.shape[:-2], 2 * p, p)
        return torch.cat((x, q), -1) @ logarithm(start, torch.cat((a, r), -2), metric)
    target = 8 * p * torch.finfo(x.dtype).eps
    tries: list[Tensor] = []
    gains: list[Tensor] = []
    u = tangent(x, y - x)
    for _ in range(MAX_ITERATIONS):
        gain, missing = _shooting_step(x, y, u, metric)
        if missing <= target:
            return u
        memory = ANDERSON_WINDOW if missing < 1 else 1  # far away the gain is not linear
        tries, gains = [*tries, u][-memory:], [*gains, gain][-memory:]
        u = tangent(x, _anderson_step(tries, gains))
    raise RuntimeError(
        f"the logarithm did not converge in {MAX_ITERATIONS} geodesics: "
        f"‖exp(u) - y‖ = {missing:.1e}; the points may be too far apart"
    )


def _half_circle(x: Tensor) -> Tensor:
    """A tangent of length π at a point of the sphere: one of the ways to its antipode."""
    axis = torch.zeros_like(x).scatter_(-2, x.abs().argmin(-2, keepdim=True), 1.0)
    u = axis - x * (x.mT @ axis)
    half: Tensor = torch.pi * u / torch.linalg.vector_norm(u, dim=-2, keepdim=True)
    return half


def _shooting_step(x: Tensor, y: Tensor, u: Tensor, metric: Metric) -> tuple[Tensor, float]:
    """What to add to u, to first order, and ``‖exp(u) - y‖``."""
    middle, reached = metric.geodesic(x, u / 2), metric.geodesic(x, u)
    gap = y - reached
    back = transport(reached, middle, tangent(reached, gap))
    missing = float(torch.linalg.matrix_norm(gap).max()) if gap.numel() else 0.0
    return transport(middle, x, back), missing


def _anderson_step(tries: list[Tensor], gains: list[Tensor]) -> Tensor:
    """The next try of ``u <- u + gain(u)`` where the gain, linear in between, would vanish."""
    last = tries[-1] + gains[-1]
    if len(tries) == 1:
        return last
    g = torch.stack(gains, -1).flatten(-3, -2).diff()
    w = torch.stack(tries, -1).flatten(-3, -2).diff() + g
    mix = torch.linalg.pinv(g) @ gains[-1].flatten(-2).unsqueeze(-1)
    mended: Tensor = last - (w @ mix).view(last.shape)
    return mended


def _rotate_in_span(x: Tensor, u: Tensor, a: Tensor, corner: Tensor) -> Tensor:
    """``[x q] exp([[corner, -rᵀ], [r, 0]]) [I; 0]`` with ``qr = u - xa``."""
    q, r = torch.linalg.qr(u - x @ a)
    block = torch.cat((torch.cat((corner, -r.mT), -1), torch.cat((r, torch.zeros_like(a)), -1)), -2)
    turned: Tensor = torch.cat((x, q), -1) @ linalg.exp(block)[..., : x.shape[-1]]
    return turned
