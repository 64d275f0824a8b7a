"""Whether a matrix is a point or a tangent vector of the Stiefel manifold, and by how much not."""

from __future__ import annotations

import math

import torch
from geoopt import ManifoldParameter, ManifoldTensor
from torch import Tensor

from orthornn.linalg import orthogonality_error, sym

DTYPES = (torch.float32, torch.float64)

Check = tuple[bool, "str | None"]


def check_dtype(x: object) -> Check:
    """Points are real tensors, in single or double precision."""
    if not isinstance(x, Tensor):
        return False, f"expected a tensor, got {type(x).__name__}"
    if x.dtype in DTYPES:
        return True, None
    return False, (
        f"expected a tensor of {' or '.join(map(str, DTYPES))}, got {x.dtype}; complex points are "
        f"not supported, and half precision cannot hold an orthogonal matrix (keep it in float32 "
        f"and autocast the products)"
    )


def check_point(x: Tensor, atol: float, determinant: int | None) -> Check:
    """``‖xᵀx - I‖ <= atol √p`` (Frobenius; of the rows where x is wide), and its determinant."""
    ok, reason = check_dtype(x)
    if not ok:
        return ok, reason
    formula = "‖xxᵀ - I‖" if x.shape[-2] < x.shape[-1] else "‖xᵀx - I‖"
    ok, reason = _compare(formula, orthogonality_error(x), atol * math.sqrt(min(x.shape[-2:])))
    if ok and determinant is not None:
        wrong = torch.linalg.slogdet(x.detach()).sign != determinant
        if bool(wrong.any()):
            return False, f"det x must be {determinant}, got {-determinant}"
    return ok, reason


def check_tangent(x: Tensor, u: Tensor, atol: float) -> Check:
    """``‖xᵀu + uᵀx‖ <= atol max(1, ‖u‖)``; of the rows where x is wide."""
    wide = x.shape[-2] < x.shape[-1]
    formula = "‖xuᵀ + uxᵀ‖" if wide else "‖xᵀu + uᵀx‖"
    x, u = x.detach().double(), u.detach().double()
    x, u = (x.mT, u.mT) if wide else (x, u)
    limit = atol * torch.linalg.matrix_norm(u).clamp(min=1.0)
    return _compare(formula, torch.linalg.matrix_norm(2 * sym(x.mT @ u)), limit)


def _compare(formula: str, error: Tensor, limit: Tensor | float) -> Check:
    """Each matrix of a batch by its own limit; the one that is farthest beyond it is reported."""
    excess = (error / limit).flatten()
    if bool((excess <= 1).all()):
        return True, None
    worst = int(excess.nan_to_num(nan=torch.inf).argmax())
    allowed = torch.as_tensor(limit).expand_as(error).flatten()[worst]
    return False, f"{formula} = {error.flatten()[worst]:.1e} > {allowed:.1e}"


def is_point(p: Tensor) -> bool:
    """Whether ``p`` is a tensor of geoopt with a manifold."""
    return isinstance(p, (ManifoldParameter, ManifoldTensor))
