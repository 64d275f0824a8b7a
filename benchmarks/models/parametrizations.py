"""Maps from unconstrained numbers to orthogonal matrices, for ``torch.nn.utils.parametrize``.

Each takes the entries below the diagonal of a skew A, row by row, shape ``(n(n-1)/2,)``; what an
optimizer moves is then as many numbers as the orthogonal group has dimensions. They reach the
matrices of determinant +1 (:class:`Cayley`: of the determinant of D) and carry a point that they
start from back to its A, in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthornn.linalg import exp, log, polar_step


def skew_from(v: Tensor, n: int) -> Tensor:
    """The skew ``(n, n)`` matrix with the entries ``v`` below its diagonal."""
    below = torch.tril_indices(n, n, -1, device=v.device)
    a = v.new_zeros(n, n).index_put((below[0], below[1]), v)
    return a - a.mT


def entries_below_diagonal(a: Tensor) -> Tensor:
    """What :func:`skew_from` makes ``a`` from."""
    n = a.shape[-1]
    below = torch.tril_indices(n, n, -1, device=a.device)
    return a[below[0], below[1]]


class Exponential(nn.Module):
    """``W = exp(A)`` (Lezcano-Casado & Martínez-Rubio, 2019)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, v: Tensor) -> Tensor:
        return exp(skew_from(v, self.n))

    def right_inverse(self, w: Tensor) -> Tensor:
        """The A of least norm, of ``w`` with determinant 1."""
        return entries_below_diagonal(w if w.is_meta else log(w.double()).to(w.dtype))


class Cayley(nn.Module):
    """``W = (I + A)⁻¹ (I - A) D`` with D a fixed diagonal of signs (Helfrich et al., 2018).

    Without D, no eigenvalue of W could be -1; with it, W has the determinant of D.

    Args:
        n: the size of W.
        minus: how many entries of D are -1, the last ones.
    """

    signs: Tensor

    def __init__(self, n: int, minus: int) -> None:
        super().__init__()
        self.n = n
        signs = torch.ones(n)
        signs[n - minus :] = -1
        self.register_buffer("signs", signs)

    def forward(self, v: Tensor) -> Tensor:
        a = skew_from(v, self.n)
        eye = torch.eye(self.n, dtype=a.dtype, device=a.device)
        w: Tensor = torch.linalg.solve(eye + a, eye - a) * self.signs
        return w

    def right_inverse(self, w: Tensor) -> Tensor:
        """``A = (I + Q)⁻¹ (I - Q)`` with ``Q = W D``, of which no eigenvalue may be -1."""
        if w.is_meta:
            return entries_below_diagonal(w)
        q = (w * self.signs).double()
        eye = torch.eye(self.n, dtype=q.dtype, device=q.device)
        return entries_below_diagonal(torch.linalg.solve(eye + q, eye - q).to(w.dtype))


class Trivialization(nn.Module):
    """``W = B exp(A)``; every K training passes, B becomes W and A 0 (Lezcano-Casado, 2019).

    Near A = 0 the map is almost an isometry, so a step of the optimizer is what it seems to be.
    The new B is rounded back towards the manifold by one Newton-Schulz step, or errors would add
    up. B and the count of passes since it changed are in the state dict.

    Args:
        n: the size of W.
        every: K, training passes between changes of B.
    """

    base: Tensor
    passes: Tensor

    def __init__(self, n: int, every: int) -> None:
        super().__init__()
        self.n = n
        self.every = every
        self.register_buffer("base", torch.eye(n))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, v: Tensor) -> Tensor:
        return self.base @ exp(skew_from(v, self.n))

    def right_inverse(self, w: Tensor) -> Tensor:
        """A = 0 with B = ``w``, of either determinant."""
        self.base = w.detach().clone()
        return entries_below_diagonal(torch.zeros_like(self.base))

    @torch.no_grad()
    def count_pass_(self, v: Tensor) -> None:
        """Count a training pass that is about to begin, after moving B there if it is time.

        B is replaced, not overwritten: a graph of an earlier pass keeps its own.
        """
        if self.passes >= self.every:
            self.base = polar_step(self(v))
            v.zero_()
            self.passes.zero_()
        self.passes += 1
