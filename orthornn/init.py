"""Initial points of the orthogonal group; which spectrum suits which task is in each docstring.

Every function fills a tensor in place and returns it, like those of ``torch.nn.init``.

References:
    Henaff, Szlam & LeCun, "Recurrent Orthogonal Networks and Long-Memory Tasks", ICML 2016.
    Helfrich, Willmott & Ye, "Orthogonal Recurrent Neural Networks with Scaled Cayley
    Transform", ICML 2018.
    Mezzadri, "How to generate random matrices from the classical compact groups", 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ._matmul_precision import full_precision_matmul
from ._validation import short_repr
from .linalg import polar_step, qr_factor

Initializer = Callable[..., Tensor]


@full_precision_matmul()
def haar_(
    tensor: Tensor, *, generator: Generator | None = None, determinant: int | None = None
) -> Tensor:
    """Fill with a uniformly (Haar) distributed orthonormal matrix.

    Q of a Gaussian matrix with the signs of R's diagonal made positive (Mezzadri, 2007).

    Args:
        tensor: shape ``(..., n, p)``; a wide one (n < p) gets orthonormal rows.
        generator: source of randomness; torch's default generator if None.
        determinant: 1 or -1 to draw from that component of the orthogonal group (square only);
            None leaves it to chance, either being equally likely.

    Raises:
        TypeError: if ``tensor`` is not a tensor of a real floating dtype.
        ValueError: if ``tensor`` has fewer than two axes, or a determinant is asked of one that
            is not square.
    """
    _check("haar_", tensor)
    check_determinant_of(tensor, determinant)
    wide = tensor.shape[-2] < tensor.shape[-1]
    shape = tensor.mT.shape if wide else tensor.shape
    dtype = torch.promote_types(tensor.dtype, torch.float32)  # there is no QR in half precision
    gaussian = torch.randn(shape, dtype=dtype, device=tensor.device, generator=generator)
    q = polar_step(qr_factor(gaussian))  # the step mends LAPACK's rounding
    with torch.no_grad():
        tensor.copy_(q.mT if wide else q)
    return tensor if determinant is None else reflect_(tensor, determinant)


def henaff_(
    tensor: Tensor, *, generator: Generator | None = None, determinant: int | None = None
) -> Tensor:
    """Fill with 2x2 rotation blocks, angles uniform in (-π, π) (Henaff et al., 2016).

    The spectrum covers the whole unit circle, which suits tasks that must tell time steps apart,
    such as copy memory. An odd size ends in a 1.

    Args:
        tensor: shape ``(..., n, n)``.
        generator: source of randomness; torch's default generator if None.
        determinant: -1 turns the sign of the first column; 1 and None leave it.

    Raises:
        TypeError: if ``tensor`` is not a tensor of a real floating dtype.
        ValueError: if ``tensor`` is not square.
    """
    _rotation_blocks_(tensor, -math.pi, math.pi, generator, "henaff_")
    return tensor if determinant is None else reflect_(tensor, determinant)


def cayley_(
    tensor: Tensor, *, generator: Generator | None = None, determinant: int | None = None
) -> Tensor:
    """Fill with 2x2 rotation blocks, angles uniform in (0, π/2) (Helfrich et al., 2018).

    scoRNN draws t uniform in (0, π/2) and puts the skew entry ``s = √((1-cos t)/(1+cos t))``
    through the Cayley map; as ``s = tan(t/2)``, that is the rotation by t. Only slow rotations
    are present, which suits language. An odd size ends in a 1.

    Args:
        tensor: shape ``(..., n, n)``.
        generator: source of randomness; torch's default generator if None.
        determinant: -1 turns the sign of the first column; 1 and None leave it.

    Raises:
        TypeError: if ``tensor`` is not a tensor of a real floating dtype.
        ValueError: if ``tensor`` is not square.
    """
    _rotation_blocks_(tensor, 0.0, math.pi / 2, generator, "cayley_")
    return tensor if determinant is None else reflect_(tensor, determinant)


def identity_(
    tensor: Tensor, *, generator: Generator | None = None, determinant: int | None = None
) -> Tensor:
    """Fill with ones on the diagonal: the state is a plain sum, which suits the adding problem.

    Args:
        tensor: shape ``(..., n, p)``.
        generator: unused; every initializer takes one.
        determinant: -1 makes the first entry -1 (square only); 1 and None leave it.

    Raises:
        TypeError: if ``tensor`` is not a tensor of a real floating dtype.
        ValueError: if ``tensor`` has fewer than two axes, or a determinant is asked of one that
            is not square.
    """
    _check("identity_", tensor)
    check_determinant_of(tensor, determinant)
    with torch.no_grad():
        tensor.zero_().diagonal(dim1=-2, dim2=-1).fill_(1)
    return tensor if determinant is None else reflect_(tensor, determinant)


def reflect_(tensor: Tensor, determinant: int) -> Tensor:
    """Turn the sign of the first column wherever the determinant is not the one wanted.

    Args:
        tensor: square orthogonal matrices, shape ``(..., n, n)``.
        determinant: 1 or -1.

    Raises:
        ValueError: if ``tensor`` is not square or ``determinant`` neither 1 nor -1.
    """
    check_determinant_of(tensor, determinant)
    if tensor.is_meta:
        return tensor
    with torch.no_grad():
        exact = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        sign = torch.linalg.slogdet(exact).sign * determinant
        tensor[..., :, 0].mul_(sign.unsqueeze(-1))
    return tensor


def check_determinant_of(tensor: Tensor, determinant: int | None) -> None:
    """Refuse a determinant that this tensor cannot have."""
    check_determinant(determinant)
    if determinant is not None and (tensor.ndim < 2 or tensor.shape[-2] != tensor.shape[-1]):
        raise ValueError(
            f"a determinant needs a square tensor of shape (..., n, n), got {tuple(tensor.shape)}"
        )


def check_determinant(determinant: int | None) -> None:
    """Refuse what is neither 1, -1 nor None."""
    if isinstance(determinant, bool) or determinant not in (1, -1, None):
        raise ValueError(f"determinant must be one of [1, -1, None], got {short_repr(determinant)}")


INITIALIZERS: dict[str, Initializer] = {
    "henaff": henaff_,
    "cayley": cayley_,
    "haar": haar_,
    "identity": identity_,
}


def _check(name: str, tensor: Tensor) -> None:
    """Refuse what cannot hold an orthogonal matrix."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} expects a tensor to fill, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise TypeError(f"{name} expects a tensor of a real floating dtype, got {tensor.dtype}")
    if tensor.ndim < 2:
        raise ValueError(f"{name} expects a tensor of shape (..., n, p), got {tuple(tensor.shape)}")


def _rotation_blocks_(
    tensor: Tensor, low: float, high: float, generator: Generator | None, name: str
) -> Tensor:
    _check(name, tensor)
    if tensor.shape[-2] != tensor.shape[-1]:
        raise ValueError(
            f"{name} expects a square tensor of shape (..., n, n), got {tuple(tensor.shape)}"
        )
    n = tensor.shape[-1]
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    angles = torch.empty(*tensor.shape[:-2], n // 2, dtype=dtype, device=tensor.device)
    angles.uniform_(low, high, generator=generator)
    cos, sin = angles.cos().to(tensor.dtype), angles.sin().to(tensor.dtype)
    with torch.no_grad():
        identity_(tensor)
        even, odd = tensor[..., 0 : n - 1 : 2, :], tensor[..., 1:n:2, :]
        even[..., 0 : n - 1 : 2].diagonal(dim1=-2, dim2=-1).copy_(cos)
        odd[..., 1:n:2].diagonal(dim1=-2, dim2=-1).copy_(cos)
        even[..., 1:n:2].diagonal(dim1=-2, dim2=-1).copy_(-sin)
        odd[..., 0 : n - 1 : 2].diagonal(dim1=-2, dim2=-1).copy_(sin)
    return tensor
