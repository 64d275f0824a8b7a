"""The table of retractions: how a tangent step becomes a point of the Stiefel manifold.

A retraction takes a point x and a tangent u to a point, ``x + u`` to first order. It is of second
order for a metric if it follows that metric's geodesics up to an error of third order. At a square
point both metrics have the same geodesics, and every row but ``qr`` is of second order.

References:
    Absil, Mahony & Sepulchre, "Optimization Algorithms on Matrix Manifolds", 2008.
    Higham, "Functions of Matrices", 2008 (the Newton-Schulz iteration).
    Wen & Yin, "A feasible method for optimization with orthogonality constraints", 2013.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from orthornn import linalg

from .metrics import square_geodesic


class Retraction(NamedTuple):
    """One row of the table."""

    retract: Callable[[Tensor, Tensor], Tensor] | None
    """``(x, u)`` to the point, for n >= p; None for the geodesic of the metric in use."""
    retract_skew: Callable[[Tensor, Tensor, float], Tensor]
    """``(x, a, c)`` to the point, for square x and ``u = c x a`` with a skew."""
    second_order: tuple[str, ...]
    """The metrics for which it is of second order at tall points."""
    cost: str
    """What ``retract_skew`` costs, counting products of n x n matrices (2n³ operations each)."""


def polar(x: Tensor, u: Tensor) -> Tensor:
    """``(x + u)(I + uᵀu)^(-½)``, the nearest point to ``x + u``; corrects rounding by itself."""
    return linalg.polar(x + u)


def polar_skew(x: Tensor, a: Tensor, c: float = 1.0) -> Tensor:
    """The polar factor of ``x + c x a``."""
    return linalg.polar(linalg.add_product(x, x, a, c))


def svd(x: Tensor, u: Tensor) -> Tensor:
    """The same map as ``polar`` through the singular value decomposition; no derivative."""
    return linalg.polar_svd(x + u)


def svd_skew(x: Tensor, a: Tensor, c: float = 1.0) -> Tensor:
    """The polar factor of ``x + c x a`` through the singular value decomposition."""
    return linalg.polar_svd(linalg.add_product(x, x, a, c))


def qr(x: Tensor, u: Tensor) -> Tensor:
    """The Q factor of ``x + u`` with positive diagonal of R; corrects rounding by itself.

    LAPACK's Q is off by 7e-6 in norm at n = 190 in float32; a polar step, cheap beside the QR,
    takes that to 2e-6.
    """
    return linalg.polar_step(linalg.qr_factor(x + u))


def qr_skew(x: Tensor, a: Tensor, c: float = 1.0) -> Tensor:
    """The Q factor of ``x + c x a``."""
    return linalg.polar_step(linalg.qr_factor(linalg.add_product(x, x, a, c)))


def cayley(x: Tensor, u: Tensor) -> Tensor:
    """``cayley(w) x`` with ``w = b xᵀ - x bᵀ`` and ``b = (I - ½xxᵀ) u`` (Wen & Yin, 2013).

    As w has rank 2p, the inverse is one of size 2p; for square x the curve is
    ``x cayley(xᵀu)``. The solve alone drifts in float32; the polar step that follows corrects it.
    """
    xu = x.mT @ u
    if x.shape[-2] == x.shape[-1]:
        return cayley_skew(x, linalg.skew(xu))
    b = u - x @ xu / 2
    xb = xu / 2
    eye = torch.eye(xu.shape[-1], dtype=x.dtype, device=x.device).expand_as(xu)
    upper = torch.cat((eye - xb / 2, -eye / 2), -1)
    lower = torch.cat((b.mT @ b / 2, eye + xb.mT / 2), -1)
    c = torch.linalg.solve(torch.cat((upper, lower), -2), torch.cat((eye, -xb.mT), -2))
    return linalg.polar(x + torch.cat((b, x), -1) @ c)


def cayley_skew(x: Tensor, a: Tensor, c: float = 1.0) -> Tensor:
    """``x (I - ½ca)⁻¹ (I + ½ca)``."""
    return linalg.polar(x @ linalg.cayley(c * a))


def exp_skew(x: Tensor, a: Tensor, c: float = 1.0) -> Tensor:
    """``x exp(ca)``."""
    return square_geodesic(x, c * a)


RETRACTIONS: dict[str, Retraction] = {
    "polar": Retraction(
        polar, polar_skew, ("euclidean",), "3 products; 4 or 5 for ‖a‖₂ > 0.05, 20 for > 1"
    ),
    "svd": Retraction(svd, svd_skew, ("euclidean",), "4 products and an SVD"),
    "qr": Retraction(qr, qr_skew, (), "3 products and a QR"),
    "cayley": Retraction(
        cayley, cayley_skew, ("canonical",), "3 products and a solve of n right-hand sides"
    ),
    "exp": Retraction(
        None, exp_skew, ("euclidean", "canonical"), "3 products and a matrix exponential"
    ),
}
