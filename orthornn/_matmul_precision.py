"""Products of float32 matrices in float32, whatever the process has asked for.

``torch.set_float32_matmul_precision`` and ``torch.backends`` let every product of float32 matrices
in a process run in TF32 (Nvidia's GPUs) or bfloat16 ("medium" on a CPU with AMX). One such product
in a step or an initialization throws a point of size 64 off its manifold by 2e-2, and ten thousand
of them in a linear recurrence multiply the norm of its state by 1e9. So what moves, draws or
projects a point, and the recurrence itself, run inside :func:`exact_products`.

What autograd does by itself does not: the backward pass of ``OrthoRNN(backend="reference")``, of
:class:`orthornn.OrthoRNNCell` and of a retraction has the precision that the process asked for.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

LOW = ("tf32", "bf16")

# Note [One setting for all threads]
# torch's setting belongs to the process. Two threads that saved and restored it each for itself
# would hand each other the wrong value: the first to leave would take the precision away from the
# other. So those inside are counted; the last one out restores. A product that another thread makes
# meanwhile is more precise than asked for.


class _Setting:
    """The precision of products in this process, and how many need it high."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.thread = threading.local()
        self.before: list[str] | None = None
        self.legacy: str | None = None

    def holds(self) -> bool:
        """Whether this very thread is inside already."""
        return getattr(self.thread, "inside", 0) > 0

    def enter(self) -> None:
        self.thread.inside = getattr(self.thread, "inside", 0) + 1
        with self.lock:
            self.inside += 1
            cpu, gpu = _backends()
            current = [cpu.fp32_precision, gpu.fp32_precision]
            if current[0] not in LOW and current[1] not in LOW:  # each step passes here
                return
            self.before, self.legacy = current, _legacy()
            if self.legacy is not None:  # or torch would call the two of its interfaces mixed
                torch.set_float32_matmul_precision("highest")
            for backend in _backends():
                backend.fp32_precision = "ieee"

    def leave(self) -> None:
        self.thread.inside -= 1
        with self.lock:
            self.inside -= 1
            if self.inside or self.before is None:
                return
            if self.legacy is not None:
                torch.set_float32_matmul_precision(self.legacy)
            for backend, precision in zip(_backends(), self.before, strict=True):
                if backend.fp32_precision == precision:
                    continue
                backend.fp32_precision = "none"  # which inherits from torch.backends, if set there
                if backend.fp32_precision != precision:
                    backend.fp32_precision = precision
            self.before = None


_setting = _Setting()


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Inside, no product of float32 matrices is less precise than float32.

    The setting of the process is restored afterwards, when the last thread has left. Inside
    ``torch.compile`` this does nothing: there the compiler decides.
    """
    if torch.compiler.is_compiling():
        yield
        return
    _setting.enter()
    try:
        yield
    finally:
        _setting.leave()


def exactly(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` inside :func:`exact_products`."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling() or _setting.holds():
            return function(*args, **kwargs)
        with exact_products():
            return function(*args, **kwargs)

    return guarded


def _backends() -> tuple[Any, ...]:
    return torch.backends.mkldnn.matmul, torch.backends.cuda.matmul  # type: ignore[attr-defined]


def _legacy() -> str | None:
    """What ``torch.set_float32_matmul_precision`` was given, where that alone lowered products."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # set through torch.backends
        return None
    return None if precision == "highest" else precision
