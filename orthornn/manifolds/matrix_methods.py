"""Decorators of a manifold's methods: check matrices, multiply exactly, transpose wide points."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul

Method = TypeVar("Method", bound=Callable[..., Tensor])


def check_matrix(name: str, x: object) -> None:
    """Refuse what has no last two axes.

    Raises:
        TypeError: for what is not a tensor.
        ValueError: for a tensor of fewer than two axes.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"expected {name} to be a tensor of shape (..., n, p), got {type(x).__name__}"
        )
    if x.ndim < 2:
        raise ValueError(f"expected {name} of shape (..., n, p), got {tuple(x.shape)}")


def checked_matrices(method: Method) -> Method:
    """Run a method in full precision; where it fails, say which argument is no matrix.

    Raises:
        TypeError: for what is not a tensor.
        ValueError: for a tensor of fewer than two axes.
    """
    in_full_precision = full_precision_matmul()(method)

    @functools.wraps(method)
    def checked(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        try:
            return in_full_precision(self, x, *args, **kwargs)
        except (AttributeError, IndexError):  # asked only now: a point's own axes take 10 us to ask
            check_matrix("a point", x)
            for second in args[:1]:
                check_matrix("the second argument", second)
            raise

    return checked  # type: ignore[return-value]


def on_tall(method: Method) -> Method:
    """Run a method that is written for n >= p on the transposes where the point is wide.

    Always in the precision of its arguments: autocast would round the point to bfloat16, and so
    might the process's own setting; see :mod:`orthornn._matmul_precision`.

    Raises:
        TypeError: for what is not a tensor.
        ValueError: for a tensor of fewer than two axes.
    """

    @functools.wraps(method)
    @checked_matrices
    def on_transposes(self: Any, x: Tensor, *args: Tensor, **kwargs: Tensor) -> Tensor:
        if not x.is_meta and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return on_transposes(self, x, *args, **kwargs)
        if x.shape[-2] >= x.shape[-1]:
            return method(self, x, *args, **kwargs)
        for name, tensor in kwargs.items():
            check_matrix(name, tensor)
        transposed = {name: tensor.mT for name, tensor in kwargs.items()}
        return method(self, x.mT, *(tensor.mT for tensor in args), **transposed).mT

    return on_transposes  # type: ignore[return-value]
