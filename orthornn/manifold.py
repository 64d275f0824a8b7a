"""The Stiefel manifold of orthonormal matrices behind geoopt's interface, and its retractions.

References:
    Edelman, Arias & Smith, "The Geometry of Algorithms with Orthogonality Constraints", 1998.
    Absil, Mahony & Sepulchre, "Optimization Algorithms on Matrix Manifolds", 2008.
    Wen & Yin, "A feasible method for optimization with orthogonality constraints", 2013.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from geoopt import ManifoldTensor
from geoopt.manifolds.base import Manifold
from torch import Generator, Tensor

from . import linalg
from .init import haar_, identity_
from .linalg import orthogonality_error, polar_step, skew, sym

Retraction = Callable[[Tensor, Tensor], Tensor]


def retract_polar(x: Tensor, u: Tensor) -> Tensor:
    """``(x + u)(I + uᵀu)^(-½)``, the nearest point to ``x + u``; second order, self-correcting."""
    return linalg.polar(x + u)


def retract_qr(x: Tensor, u: Tensor) -> Tensor:
    """The Q factor of ``x + u``, signs fixed; first order, self-correcting.

    LAPACK's Q is off by 7e-6 in norm at n = 190 in float32; a polar step, cheap beside the QR,
    takes that to 2e-6.
    """
    return polar_step(linalg.qr_factor(x + u))


def retract_cayley(x: Tensor, u: Tensor) -> Tensor:
    """``cayley(a) x`` with ``a = p u xᵀ - x uᵀ p``, ``p = I - ½xxᵀ`` (Wen & Yin, 2013).

    Second order. For square x this is ``x cayley(xᵀu)``, which is what is computed. The linear
    solve alone drifts in float32, so a polar step follows: it squares the error.
    """
    if x.shape[-2] == x.shape[-1]:
        return linalg.polar(x @ linalg.cayley(skew(x.mT @ u)))
    b = (u - x @ (x.mT @ u) / 2) @ x.mT
    return linalg.polar(linalg.cayley(b - b.mT) @ x)


def geodesic(x: Tensor, u: Tensor) -> Tensor:
    """Geodesic of the Euclidean metric, ``exp(uxᵀ - xuᵀ) x exp(-a)`` with ``a = xᵀu``.

    For square x it is ``x exp(a)``. For a tall one the large exponential acts in the span of x and
    q, where ``qr = (I - xxᵀ)u``: it is ``[x q] exp([[2a, -rᵀ], [r, 0]]) [I; 0] exp(-a)``. Equal to
    the form of Edelman et al. (1998), but of skew matrices alone, which cannot overflow. A polar
    step follows, because rounding would accumulate over steps.
    """
    a = skew(x.mT @ u)
    p = x.shape[-1]
    if x.shape[-2] == p:
        return linalg.polar(x @ linalg.exp(a))
    q, r = torch.linalg.qr(u - x @ a)
    block = torch.cat((torch.cat((2 * a, -r.mT), -1), torch.cat((r, torch.zeros_like(a)), -1)), -2)
    y = torch.cat((x, q), -1) @ linalg.exp(block)[..., :p] @ linalg.exp(-a)
    return linalg.polar(y)


RETRACTIONS: dict[str, Retraction] = {
    "polar": retract_polar,
    "qr": retract_qr,
    "cayley": retract_cayley,
    "exp": geodesic,
}


class Stiefel(Manifold):  # type: ignore[misc]
    """Orthonormal matrices ``{x : xᵀx = I}`` of shape ``(..., n, p)``, n >= p, Euclidean metric.

    The inner product is ``<u, v> = tr(uᵀv)``; the tangent space at x is ``{u : xᵀu + uᵀx = 0}``.
    Square points form the orthogonal group, whose tangent vectors are ``u = x a`` with a skew:
    there the coordinates a are carried from point to point unchanged, which is the isometric
    transport used here.

    Works with ``geoopt.ManifoldParameter`` and geoopt's own optimizers.

    Args:
        retraction: how a tangent step becomes a point: ``"polar"`` (default; matrix products
            only, corrects rounding by itself), ``"qr"``, ``"cayley"`` or ``"exp"``.

    Raises:
        ValueError: for an unknown retraction.
    """

    name = "Stiefel"
    ndim = 2
    reversible = False

    def __init__(self, retraction: str = "polar") -> None:
        if retraction not in RETRACTIONS:
            raise ValueError(f"retraction must be one of {sorted(RETRACTIONS)}, got {retraction!r}")
        super().__init__()
        self.retraction = retraction

    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        """``<u, v> = tr(uᵀv)``; ``v = u`` if None. Shape ``(..., n, p)`` to ``(...)``."""
        return (u * (u if v is None else v)).sum((-2, -1), keepdim=keepdim)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Orthogonal projection of ``u`` on the tangent space, ``u - x sym(xᵀu)``."""
        return u - x @ sym(x.mT @ u)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian gradient of the Euclidean gradient ``u``: its tangent projection."""
        return self.proju(x, u)

    def projx(self, x: Tensor) -> Tensor:
        """Nearest orthonormal matrix, the polar factor of ``x`` (by SVD, from any distance)."""
        return linalg.polar_svd(x)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """The point that the chosen retraction reaches from ``x`` along the tangent ``u``."""
        return RETRACTIONS[self.retraction](x, u)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """The geodesic from ``x`` along the tangent ``u``, at time 1."""
        return geodesic(x, u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Carry the tangent ``v`` at ``x`` to ``y``.

        Square: ``y xᵀv``, an isometry. Tall: the tangent projection at ``y``.
        """
        if x.shape[-2] == x.shape[-1]:
            return y @ skew(x.mT @ v)
        return self.proju(y, v)

    def coordinates(self, x: Tensor, u: Tensor) -> Tensor:
        """``a = skew(xᵀu)``: the tangent part of ``u`` in the Lie algebra, for square ``x``."""
        return skew(x.mT @ u)

    def from_coordinates(self, x: Tensor, a: Tensor) -> Tensor:
        """The tangent vector ``x a`` of the skew ``a``, for square ``x``."""
        return x @ a

    def random(
        self,
        *size: int | tuple[int, ...],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: Generator | None = None,
    ) -> ManifoldTensor:
        """A Haar distributed point of shape ``size``."""
        x = torch.empty(self._size(size), dtype=dtype, device=device)
        return ManifoldTensor(haar_(x, generator=generator), manifold=self)

    def origin(
        self,
        *size: int | tuple[int, ...],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = 42,
    ) -> ManifoldTensor:
        """The first p columns of the identity; ``seed`` is geoopt's and has no effect."""
        x = torch.empty(self._size(size), dtype=dtype, device=device)
        return ManifoldTensor(identity_(x), manifold=self)

    def extra_repr(self) -> str:
        return f"retraction={self.retraction}"

    def _size(self, size: tuple[Any, ...]) -> tuple[int, ...]:
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        self._assert_check_shape(shape, "x")
        return shape

    def _check_shape(self, shape: tuple[int, ...], name: str) -> tuple[bool, str | None]:
        if len(shape) < 2 or shape[-2] < shape[-1]:
            return False, f"`{name}` must have shape (..., n, p) with n >= p, got {tuple(shape)}"
        return True, None

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        return _judge("‖xᵀx - I‖", orthogonality_error(x), atol * math.sqrt(x.shape[-1]))

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> tuple[bool, str | None]:
        error = torch.linalg.matrix_norm(2 * sym(x.mT @ u))
        size = torch.linalg.matrix_norm(u).max().item() if u.numel() else 0.0
        return _judge("‖xᵀu + uᵀx‖", error, atol * max(1.0, size))


def _judge(formula: str, error: Tensor, limit: float) -> tuple[bool, str | None]:
    worst = error.max().item() if error.numel() else 0.0
    if worst <= limit:
        return True, None
    return False, f"{formula} = {worst:.1e} > {limit:.1e}"
