"""The Stiefel manifold of orthonormal matrices behind geoopt's interface.

The retractions are in :mod:`orthornn.manifolds.retractions`, the metrics in
:mod:`orthornn.manifolds.metrics`.

References:
    Edelman, Arias & Smith, "The Geometry of Algorithms with Orthogonality Constraints", 1998.
    Absil, Mahony & Sepulchre, "Optimization Algorithms on Matrix Manifolds", 2008.
"""

from __future__ import annotations

from typing import Any

import torch
from geoopt import ManifoldTensor
from geoopt.manifolds.base import Manifold
from torch import Generator, Tensor

from orthornn import linalg
from orthornn._validation import check_choice
from orthornn.init import check_determinant, haar_, identity_
from orthornn.linalg import skew

from . import checks, metrics
from .checks import Check
from .matrix_methods import checked_matrices, on_tall
from .metrics import METRICS
from .retractions import RETRACTIONS


class Stiefel(Manifold):  # type: ignore[misc]
    """Orthonormal matrices ``{x : xᵀx = I}`` of shape ``(..., n, p)``, n >= p.

    The tangent space at x is ``{u : xᵀu + uᵀx = 0}``. Its inner product is that of the metric:

        euclidean    <u, v> = tr(uᵀv)                   gradient  g - x sym(xᵀg)
        canonical    <u, v> = tr(uᵀ(I - ½xxᵀ)v)         gradient  g - x gᵀx

    A wide point (n < p) has orthonormal rows, ``xxᵀ = I``, and is treated as the transpose of a
    tall one. Square points form the orthogonal group, whose tangent vectors are ``u = x a`` with a
    skew, and where the two metrics differ by a factor of 2 only. A retraction does not leave a
    connected component: the determinant (1 or -1) of a square point stays what it was.

    Works with ``geoopt.ManifoldParameter`` and geoopt's own optimizers. Two instances with equal
    settings are equal.

    Args:
        retraction: how a tangent step becomes a point: ``"polar"`` (default; matrix products
            only, corrects rounding by itself), ``"svd"`` (the same map), ``"qr"``, ``"cayley"``
            or ``"exp"`` (the geodesic of the metric).
        metric: ``"euclidean"`` (default) or ``"canonical"``.
        determinant: 1 or -1 to allow square points of that component only, which ``random``,
            ``origin`` and ``projx`` then give; None (default) for any.

    Raises:
        ValueError: for an unknown retraction, metric or determinant; by its methods, for a tensor
            of fewer than two axes.
        TypeError: by its methods, for what is not a tensor.
        RuntimeError: by its methods, for shapes or dtypes that do not go together.
        torch.linalg.LinAlgError: by its methods, for NaN or Inf where a decomposition is taken.
    """

    name = "Stiefel"
    ndim = 2
    reversible = False

    def __init__(
        self,
        retraction: str = "polar",
        metric: str = "euclidean",
        determinant: int | None = None,
    ) -> None:
        check_choice("retraction", retraction, RETRACTIONS)
        check_choice("metric", metric, METRICS)
        check_determinant(determinant)
        super().__init__()
        self.retraction = retraction
        self.metric = metric
        self.determinant = determinant

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stiefel):
            return False
        same = type(self) is type(other)
        same = same or {type(self), type(other)} <= {Stiefel, SpecialOrthogonal}
        return same and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(self._settings)

    @property
    def _settings(self) -> tuple[str, str, int | None]:
        return self.retraction, self.metric, self.determinant

    @checked_matrices
    def inner(
        self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False
    ) -> Tensor:
        """``<u, v>`` of tangent vectors at x; ``v = u`` if None. ``(..., n, p)`` to ``(...)``."""
        v = u if v is None else v
        if x.shape[-2] < x.shape[-1]:
            x, u, v = x.mT, u.mT, v.mT
        product = METRICS[self.metric].inner(x, u, v)
        return product if keepdim else product[..., 0, 0]

    @on_tall
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Orthogonal projection of ``u`` on the tangent space, ``u - x sym(xᵀu)``."""
        return metrics.tangent(x, u)

    @on_tall
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian gradient of the Euclidean gradient ``u``: ``<gradient, v> = tr(uᵀv)``."""
        return METRICS[self.metric].gradient(x, u)

    @on_tall
    def projx(self, x: Tensor) -> Tensor:
        """Nearest point, the polar factor of ``x`` (by SVD, from any distance); no derivative."""
        if self.determinant is None:
            return linalg.polar_svd(x)
        return linalg.nearest_rotation(x, self.determinant)

    @on_tall
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """The point that the chosen retraction reaches from ``x`` along the tangent ``u``."""
        retract = RETRACTIONS[self.retraction].retract or METRICS[self.metric].geodesic
        return retract(x, u)

    @on_tall
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """The geodesic from ``x`` with velocity ``u``, at time 1."""
        return METRICS[self.metric].geodesic(x, u)

    @on_tall
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector at ``x`` whose geodesic reaches ``y`` at time 1.

        Closed form for square points; the others take
        :func:`orthornn.manifolds.metrics.logarithm`.

        Raises:
            ValueError: for square points of different determinant.
            RuntimeError: for points too far apart for the iteration (about 2).
        """
        return metrics.logarithm(x, y, METRICS[self.metric])

    @checked_matrices
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Geodesic distance, ``(..., n, p)`` to ``(...)``; Inf between unequal determinants.

        No derivative for square points.

        Raises:
            RuntimeError: as :meth:`logmap`.
        """
        shape = torch.broadcast_shapes(x.shape, y.shape)  # type: ignore[no-untyped-call]
        x, y = x.expand(shape), y.expand(shape)
        if x.shape[-2] != x.shape[-1]:
            return self.inner(x, self.logmap(x, y), keepdim=keepdim).sqrt()
        apart = torch.linalg.slogdet(x.mT @ y).sign < 0
        u = self.logmap(x, torch.where(apart[..., None, None], x, y))
        apart = apart[..., None, None] if keepdim else apart
        return torch.where(apart, torch.inf, self.inner(x, u, keepdim=keepdim).sqrt())

    @on_tall
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Carry the tangent ``v`` at ``x`` to ``y`` by a rotation that takes x to y.

        Linear and isometric in both metrics; ``y xᵀv`` for square points. See
        :func:`orthornn.manifolds.metrics.transport`.
        """
        return metrics.transport(x, y, v)

    @checked_matrices
    def to_lie_algebra(self, x: Tensor, u: Tensor) -> Tensor:
        """``a = skew(xᵀu)``: the tangent part of ``u`` in the Lie algebra, for square ``x``."""
        return skew(x.mT @ u)

    @checked_matrices
    def from_lie_algebra(self, x: Tensor, a: Tensor) -> Tensor:
        """The tangent vector ``x a`` of the skew ``a``, for square ``x``."""
        return x @ a

    @checked_matrices
    def gradient_in_lie_algebra(self, x: Tensor, g: Tensor) -> Tensor:
        """``to_lie_algebra(x, egrad2rgrad(x, g))``, with one product instead of three."""
        a = skew(x.mT @ g)
        scale = METRICS[self.metric].square_gradient
        return a if scale == 1 else a.mul_(scale)

    @checked_matrices
    def retract_skew(self, x: Tensor, a: Tensor, scale: float = 1.0) -> Tensor:
        """``retr(x, from_lie_algebra(x, scale * a))``, with one product less, for square ``x``."""
        return RETRACTIONS[self.retraction].retract_skew(x, a, scale)

    def random(
        self,
        *size: int | tuple[int, ...],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        generator: Generator | None = None,
    ) -> ManifoldTensor:
        """A Haar distributed point of shape ``size``."""
        x = torch.empty(self._size(size), dtype=dtype, device=device)
        haar_(x, generator=generator, determinant=self.determinant)
        return ManifoldTensor(x, manifold=self)

    def origin(
        self,
        *size: int | tuple[int, ...],
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        seed: int | None = 42,
    ) -> ManifoldTensor:
        """The first columns (rows) of the identity; ``seed`` is geoopt's and has no effect.

        With determinant -1 its first entry is -1.
        """
        x = torch.empty(self._size(size), dtype=dtype, device=device)
        return ManifoldTensor(identity_(x, determinant=self.determinant), manifold=self)

    def extra_repr(self) -> str:
        determinant = "" if self.determinant is None else f", determinant={self.determinant}"
        return f"retraction={self.retraction}, metric={self.metric}{determinant}"

    def check_point(self, x: Tensor, *, explain: bool = False) -> Any:
        """Whether ``x`` has the shape and dtype of a point; with ``explain`` also why not."""
        ok, reason = checks.check_dtype(x)
        ok, reason = self._check_shape(x.shape, "x") if ok else (ok, reason)
        return (ok, reason) if explain else ok

    def assert_check_point(self, x: Tensor) -> None:
        """Refuse what :meth:`check_point` refuses, with a ValueError that says why."""
        ok, reason = self.check_point(x, explain=True)
        if not ok:
            raise ValueError(f"not a point of {self.name}: {reason}")

    def _size(self, size: tuple[Any, ...]) -> tuple[int, ...]:
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        self._assert_check_shape(shape, "x")
        return shape

    def _check_shape(self, shape: tuple[int, ...], name: str) -> Check:
        if len(shape) < 2:
            return False, f"`{name}` must have shape (..., n, p), got {tuple(shape)}"
        if self.determinant is not None and shape[-2] != shape[-1]:
            return False, (
                f"`{name}` must be square to have determinant {self.determinant}, "
                f"got {tuple(shape)}"
            )
        return True, None

    def _check_point_on_manifold(
        self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> Check:
        return checks.check_point(x, atol, self.determinant)

    def _check_vector_on_tangent(
        self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5
    ) -> Check:
        return checks.check_tangent(x, u, atol)


class SpecialOrthogonal(Stiefel):
    """The rotations ``{x : xᵀx = I, det x = 1}``: ``Stiefel(..., determinant=1)`` by its name.

    Args:
        retraction: as for :class:`Stiefel`.
        metric: as for :class:`Stiefel`.

    Raises:
        ValueError: for an unknown retraction or metric.
    """

    name = "SpecialOrthogonal"

    def __init__(self, retraction: str = "polar", metric: str = "euclidean") -> None:
        super().__init__(retraction, metric, determinant=1)
