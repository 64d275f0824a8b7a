"""Pure functions on ``(..., n, p)`` matrices: skew part, polar, QR, Cayley, exponential."""

from __future__ import annotations

import torch
from torch import Tensor

# Note [Newton-Schulz by its own error]
# Let e = mᵀm - I. One step m <- m - ½ m e turns the error into
#     e' = -¾ e² - ¼ e³,    so    ‖e'‖ <= ¾‖e‖² + ¼‖e‖³,
# in any submultiplicative norm. The right-hand side depends on ‖e‖ alone, so the norm is read
# once, the number of steps follows from scalars, and a step costs two products (mᵀm, m e).
# The iteration converges when ‖e‖ < 1 (every singular value in (0, √2)); past that the polar
# factor comes from the SVD. Both compute the same map, so the switch is invisible.


def sym(a: Tensor) -> Tensor:
    """Symmetric part ``½(a + aᵀ)`` of ``a``, shape ``(..., n, n)``."""
    return (a + a.mT) / 2


def skew(a: Tensor) -> Tensor:
    """Skew-symmetric part ``½(a - aᵀ)`` of ``a``, shape ``(..., n, n)``."""
    return (a - a.mT) / 2


def gram_error(x: Tensor) -> Tensor:
    """``xᵀx - I`` for ``x`` of shape ``(..., n, p)``; the result is ``(..., p, p)``."""
    e = x.mT @ x
    # A product adds its terms one by one, so next to an entry near 1 the squares of small ones
    # are lost: 2e-5 in norm at n = 190 for a first step from rotation blocks, now 6e-7.
    e.diagonal(dim1=-2, dim2=-1).copy_(x.square().sum(-2, dtype=torch.float64) - 1)
    return e


def orthogonality_error(x: Tensor) -> Tensor:
    """Frobenius norm ``‖xᵀx - I‖`` over the last two axes, computed in float64.

    A wide matrix (n < p) is measured by its rows, ``‖xxᵀ - I‖``.

    Shape:
        ``(..., n, p)`` to ``(...)``.
    """
    x = x.detach().to(torch.promote_types(x.dtype, torch.float64))
    x = x.mT if x.shape[-2] < x.shape[-1] else x
    error: Tensor = torch.linalg.matrix_norm(gram_error(x))
    return error


def polar(m: Tensor) -> Tensor:
    """Orthonormal polar factor ``m (mᵀm)^(-½)`` by Newton-Schulz steps, matrix products alone.

    ``m <- m - ½ m (mᵀm - I)`` until the predicted error is below the precision of the dtype: one
    step (two products) from within about 5e-4 of the manifold in float32, four from within 0.5.
    See Note [Newton-Schulz by its own error]; from 0.99 on the SVD is used.

    Shape:
        ``(..., n, p)`` with n >= p, to the same.
    """
    e = gram_error(m)
    size = _largest_norm(e)
    if not size < 0.99:
        return polar_svd(m)
    while True:
        m = m - m @ e / 2
        size = 0.75 * size**2 + 0.25 * size**3
        if size <= 2 * torch.finfo(m.dtype).eps:
            return m
        e = gram_error(m)


def polar_svd(m: Tensor) -> Tensor:
    """Orthonormal polar factor ``u vᵀ`` of ``m = u diag(σ) vᵀ``; finite for every full-rank ``m``.

    Raises:
        torch.linalg.LinAlgError: if ``m`` holds NaN or Inf.
    """
    u, _, vh = torch.linalg.svd(m, full_matrices=False)
    return polar_step(u @ vh)


def polar_step(x: Tensor) -> Tensor:
    """One Newton-Schulz step ``x - ½ x (xᵀx - I)``: squares a small error, keeps an exact point."""
    return x - x @ gram_error(x) / 2


def qr_factor(m: Tensor) -> Tensor:
    """The Q of ``m = QR`` with ``diag(R) > 0``, which makes it unique and smooth in ``m``.

    LAPACK leaves the signs of R's diagonal open; without this rule the Q of a Gaussian matrix is
    not Haar distributed and the QR retraction jumps.
    """
    q, r = torch.linalg.qr(m)
    signs = r.diagonal(dim1=-2, dim2=-1).sign()
    signed: Tensor = q * torch.where(signs == 0, 1, signs).unsqueeze(-2)
    return signed


def cayley(a: Tensor) -> Tensor:
    """Cayley transform ``(I - ½a)⁻¹ (I + ½a)`` of a skew ``a``, shape ``(..., n, n)``.

    With this ½ its derivative at 0 is the identity, and it agrees with ``exp(a)`` to second order.
    """
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    q: Tensor = torch.linalg.solve(eye - a / 2, eye + a / 2)
    return q


def exp(a: Tensor) -> Tensor:
    """Matrix exponential of ``a``, shape ``(..., n, n)``."""
    q: Tensor = torch.linalg.matrix_exp(a)
    return q


def _largest_norm(e: Tensor) -> float:
    """The largest Frobenius norm in a batch: the one number that is read from the device."""
    if e.numel() == 0:
        return 0.0
    return float(torch.linalg.matrix_norm(e).max())
