"""In which precision the recurrence runs, and what it returns.

An orthogonal matrix does not survive half precision: rounded to bfloat16, entries of WᵀW are off
by 2e-3, and T steps raise that to the power T. So W is kept in float32 (float64 in a float64
module) and the states run in its precision; half precision is for what goes in and comes out, by
``module.bfloat16()`` or autocast. Products in TF32 or bfloat16, which a process may ask for, are
for the rest of the model; see :mod:`orthornn._matmul_precision`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from orthornn._matmul_precision import full_precision_matmul

A = TypeVar("A", Tensor, "Tensor | None")


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """``dtype``, or float32 where that is more precise: the dtype of a recurrent weight."""
    return dtype if dtype.itemsize >= 4 else torch.float32


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """What autocast makes of an output computed from ``x``; None where it is off.

    As for ``torch.nn.RNN``, float64 stays float64.
    """
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return x.dtype if x.dtype == torch.float64 else torch.get_autocast_dtype(device)


def accepts_dtype(dtype: torch.dtype, x: Tensor) -> bool:
    """Whether a module of ``dtype`` takes ``x``: of its own dtype, or of those autocast mixes."""
    if x.dtype == dtype:
        return True
    mixed = torch.float64 not in (x.dtype, dtype) and x.is_floating_point()
    return mixed and autocast_dtype(x) is not None


def refuse_complex(fn: Callable[[Tensor], Tensor], p: Tensor) -> None:
    """Refuse a function that would make a parameter complex, before anything is moved.

    Raises:
        TypeError: where it does.
    """
    if fn(p.new_empty(0)).is_complex():
        raise TypeError("expected a real dtype for a recurrent module, got a complex one")


@contextlib.contextmanager
def in_weight_precision(x: Tensor) -> Iterator[torch.dtype]:
    """Products have the precision of their factors; yields the dtype the output is to have."""
    low = autocast_dtype(x)
    with full_precision_matmul():
        if low is None:
            yield x.dtype
            return
        with torch.autocast(x.device.type, enabled=False):
            yield low


def cast(a: A, dtype: torch.dtype) -> A:
    """``a`` in ``dtype``, differentiable; None stays None."""
    return a if a is None or a.dtype == dtype else a.to(dtype)
