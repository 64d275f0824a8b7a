"""Pure functions on ``(..., n, p)`` matrices: skew part, polar, QR, Cayley, exponential."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Note [Newton-Schulz by its own error]
# Let e = mᵀm - I. Two ways to finish, in exact arithmetic:
#     m <- m - ½ m e               leaves  e' = -¾e² + ¼e³                    two products
#     m <- m - m (½e - ⅜e²)        leaves  e' = ⅝e³ - (15/64)e⁴ + (9/64)e⁵    three products
# With r the largest row norm of e and f its Frobenius norm, every entry of eᵏ is at most
# r² fᵏ⁻²; so r and f, read once, tell before the products which of the two brings every entry
# below the precision of the dtype, and how far one step short of it will come (f' <= ¾f² + ¼f³,
# r' <= r (¾f + ¼f²)). From f < 1 on the iteration converges. Farther out m is first scaled so
# that no singular value exceeds 1.2 (σ² <= 1 + ‖e‖ in any norm; the iteration converges below
# √3), and multiplies the small ones by 1.5 a step; σ_min is unknown, so after some steps the SVD
# takes over. All compute the same map: the switches are invisible.
#
# The last product is summed on its own and then added: a kernel that sums onto m rounds at every
# term, which leaves 3e-15 instead of 5e-16 at n = 128 in double precision.

LinAlgError: type[RuntimeError] = torch.linalg.LinAlgError  # type: ignore[attr-defined]

CONVERGENCE_RADIUS = 0.9  # Frobenius norm of e below which the iteration converges
MAX_STEPS = 14  # steps from farther away before the SVD: enough for σ_max / σ_min of about 100


def sym(a: Tensor) -> Tensor:
    """Symmetric part ``½(a + aᵀ)`` of ``a``, shape ``(..., n, n)``."""
    return (a + a.mT) / 2


def skew(a: Tensor) -> Tensor:
    """Skew-symmetric part ``½(a - aᵀ)`` of ``a``, shape ``(..., n, n)``."""
    return (a - a.mT).div_(2)


def square_norm(a: Tensor) -> float:
    """The sum of the squares of all entries; Inf where it overflows, NaN where one is NaN."""
    flat = a.detach().reshape(-1)
    return float(torch.dot(flat, flat))


def clip_norm(u: Tensor, c: float, limit: float) -> tuple[Tensor, float]:
    """``(u, c)``, changed so that ``c u`` has no matrix of Frobenius norm above ``limit``."""
    if square_norm(u) * c * c <= limit * limit:
        return u, c
    peak = u.abs().amax((-2, -1), keepdim=True).clamp(min=torch.finfo(u.dtype).tiny)
    unit = u / peak  # neither c u nor the squares of u need be finite
    norm = torch.linalg.matrix_norm(unit, keepdim=True).clamp(min=1)  # at least, but for u = 0
    length = torch.minimum(peak.double() * abs(c), limit / norm.double()).to(u.dtype)
    return unit * length, math.copysign(1.0, c)


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


def add_product(m: Tensor, a: Tensor, b: Tensor, alpha: float = 1.0) -> Tensor:
    """``m + α a b``, in one kernel where the shapes allow; rounds more than the sum of two."""
    if m.ndim == 2:
        return torch.addmm(m, a, b, alpha=alpha)
    return torch.add(m, a @ b, alpha=alpha)


def polar(m: Tensor) -> Tensor:
    """Orthonormal polar factor ``m (mᵀm)^(-½)`` by Newton-Schulz steps, matrix products alone.

    Two products from close to the manifold (every row of mᵀm - I shorter than 4e-4 in float32),
    three or four from farther away, some twenty from anywhere near a tangent step of any length;
    the SVD for matrices that are close to singular. See Note [Newton-Schulz by its own error].

    Shape:
        ``(..., n, p)`` with n >= p, to the same.

    Raises:
        torch.linalg.LinAlgError: if ``m`` holds NaN or Inf.
    """
    e = gram_error(m)
    r, f = _row_and_frobenius_norm(e)
    if not f < CONVERGENCE_RADIUS:
        start, m = m, m / _downscale_factor(e)
        for _ in range(MAX_STEPS):
            e = gram_error(m)
            r, f = _row_and_frobenius_norm(e)
            if f < CONVERGENCE_RADIUS:
                break
            m = add_product(m, m, e, -0.5)
        else:
            return polar_svd(start)
    target = torch.finfo(m.dtype).eps / 2
    while r * r * (0.75 + 0.25 * f) > target:
        if r * r * f <= target:
            c = add_product(-0.5 * e, e, e, 0.375)
            m = m + m @ c
            return polar_step(m) if m.requires_grad else m
        m = add_product(m, m, e, -0.5)
        r, f = r * f * (0.75 + 0.25 * f), f * f * (0.75 + 0.25 * f)
        e = gram_error(m)
    m = torch.add(m, m @ e, alpha=-0.5)
    # one step has the right first derivative, but a second one that two steps do not have
    return polar_step(m) if m.requires_grad else m


def skew_sign(a: Tensor) -> Tensor:
    """``a (aᵀa)^(-½)`` of a skew ``a``, shape ``(..., n, n)``: itself skew, every angle made 1.

    With eigenvalues ±iλ of a, those of the result are ±i; where λ = 0 (always once for odd n) it
    is 0. By SVD on the CPU, where that is the cheapest, elsewhere by products.
    """
    return skew(polar_svd(a)) if a.device.type == "cpu" else skew_sign_by_products(a)


def skew_sign_by_products(a: Tensor) -> Tensor:
    """The same by 36 products; angles below 1e-4 of ‖a‖ are raised, but not all the way to 1.

    Eight steps of the quintic of Muon (Jordan et al., 2024) bring every λ near 1, six of
    Newton-Schulz, ``y + ½ (I + y²) y`` for skew y, to it.
    """
    size = torch.linalg.matrix_norm(a, keepdim=True).clamp(min=torch.finfo(a.dtype).tiny)
    y = a * (math.sqrt(2) / size)  # eigenvalues come in pairs, so none exceeds 1
    for _ in range(8):
        b = y @ y
        y = 3.4445 * y + (4.7750 * b + 2.0315 * b @ b) @ y
    for _ in range(6):
        y = 1.5 * y + 0.5 * (y @ y) @ y
    return skew(y)


def polar_svd(m: Tensor) -> Tensor:
    """Orthonormal polar factor ``u vᵀ`` of ``m = u diag(σ) vᵀ``; unique for full rank.

    Raises:
        torch.linalg.LinAlgError: if ``m`` holds NaN or Inf.
    """
    u, _, vh = svd(m)
    return polar_step(u @ vh)


def svd(m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(u, σ, vᵀ)`` of ``m``, thin.

    LAPACK's fast algorithm gives up, once in some ten thousand matrices, where many singular values
    are almost equal, as they are near the manifold; the transpose in float64 is another problem
    with the same answer.

    Raises:
        torch.linalg.LinAlgError: if ``m`` holds NaN or Inf.
    """
    if not bool(torch.isfinite(m).all()):
        raise LinAlgError("a matrix with NaN or Inf has no singular values")
    try:
        u, sigma, vh = torch.linalg.svd(m, full_matrices=False)
        return u, sigma, vh
    except LinAlgError:
        v, sigma, uh = torch.linalg.svd(m.mT.double(), full_matrices=False)
        return uh.mT.to(m.dtype), sigma.to(m.dtype), v.mT.to(m.dtype)


def nearest_rotation(m: Tensor, determinant: int) -> Tensor:
    """The orthogonal matrix of that determinant (1 or -1) nearest to ``m``, ``(..., n, n)``.

    ``u diag(1, ..., 1, ±1) vᵀ``: where the polar factor has the other sign, the direction of the
    smallest singular value is reversed.
    """
    u, _, vh = svd(m)
    sign = torch.linalg.slogdet(u @ vh).sign * determinant
    last = torch.cat((u[..., :-1], u[..., -1:] * sign[..., None, None]), -1)
    return polar_step(last @ vh)


def polar_step(x: Tensor) -> Tensor:
    """One Newton-Schulz step ``x - ½ x (xᵀx - I)``: squares a small error, keeps an exact point."""
    return torch.add(x, x @ gram_error(x), alpha=-0.5)


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


# Note [Two copies]
# torch.linalg.matrix_exp of one matrix with a norm between about 0.05 and 0.6 (float32) has a wrong
# coefficient in its polynomial of degree 8 (pytorch/pytorch#196592): exp of a skew matrix is off,
# and so off the manifold, by up to 5e-5, and its gradient too. More than one matrix takes another
# path, which is right.


def exp(a: Tensor) -> Tensor:
    """Matrix exponential of ``a``, shape ``(..., n, n)``."""
    if a.shape[:-2].numel() != 1:
        many: Tensor = torch.linalg.matrix_exp(a)
        return many
    one: Tensor = torch.linalg.matrix_exp(a.expand(2, *a.shape))[0]  # Note [Two copies]
    return one


def log(q: Tensor) -> Tensor:
    """A real logarithm of least norm of a rotation ``q``, shape ``(..., n, n)``; skew.

    Let c and a be the symmetric and the skew part of q; they commute. Where no angle is close to
    π, ``log q = g(c) a`` with ``g(cos θ) = θ / sin θ``. On the span of the eigenvectors of c whose
    eigenvalue is below some negative number, that holds for -q, and ``log q = log(-q) + π j`` with
    j the polar factor of a. Where an angle is π, a vanishes and j turns eigenvectors in pairs: one
    of the many logarithms of least norm.

    The determinant must be +1; no real matrix is the logarithm of another orthogonal matrix.
    """
    n, eps = q.shape[-1], torch.finfo(q.dtype).eps
    c, v = torch.linalg.eigh(sym(q))  # ascending
    a = v.mT @ skew(q) @ v
    far = _below_a_gap(c)
    t = torch.where(far, 1 + c, 1 - c).clamp(min=eps**2)  # 1 - cos of what is left of the angle
    g = 2 * torch.asin((t / 2).sqrt()) / (t * (2 - t)).sqrt()
    b = skew((g * torch.where(far, -1, 1)).unsqueeze(-1) * a)
    if bool(far.any()):
        both = far.unsqueeze(-1) & far.unsqueeze(-2)
        rest = torch.diag_embed(torch.where(far, 0, 1).to(q.dtype))
        u, sigma, wh = svd(a * both + rest)
        flat = sigma < 16 * n * eps  # descending: the last ones, in pairs
        known = u @ torch.where(flat.unsqueeze(-1), 0, wh) - rest
        first = torch.arange(n - 2, -1, -2, device=q.device)
        pairs = torch.zeros(n, n, dtype=q.dtype, device=q.device)
        pairs[first, first + 1] = 1
        pairs = (pairs - pairs.mT) * (flat.unsqueeze(-1) & flat.unsqueeze(-2))
        b = b + torch.pi * (known + wh.mT @ pairs @ wh)
    result: Tensor = v @ skew(b) @ v.mT
    return result


def _below_a_gap(c: Tensor) -> Tensor:
    """Which of the ascending cosines lie below the widest gap between -0.9 and 0.

    Both cosines of a pair, equal but for rounding, have to fall on the same side.
    """
    ends = [torch.full_like(c[..., :1], end) for end in (-0.9, 0.0)]
    marks = torch.cat((ends[0], c.clamp(-0.9, 0.0), ends[1]), -1)
    widest = marks.diff().argmax(-1, keepdim=True)
    cut = (marks.gather(-1, widest) + marks.gather(-1, widest + 1)) / 2
    return c < cut


def _row_and_frobenius_norm(e: Tensor) -> tuple[float, float]:
    """The largest row norm and the largest Frobenius norm in a batch of square matrices."""
    if e.numel() == 0:
        return 0.0, 0.0
    e = e.detach()
    squares = torch.linalg.vecdot(e, e)
    return math.sqrt(squares.max()), math.sqrt(squares.sum(-1).max())


def _downscale_factor(e: Tensor) -> Tensor:
    """What to divide m by, shape ``(..., 1, 1)``, so that its singular values are at most 1.2."""
    norms = torch.linalg.matrix_norm(e), torch.linalg.matrix_norm(e, torch.inf)
    bound: Tensor = (1 + torch.minimum(*norms)).sqrt() / 1.2
    return bound.clamp(min=1)[..., None, None]
