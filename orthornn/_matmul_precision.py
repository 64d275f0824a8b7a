"""Products of float32 matrices in float32, whatever the process has asked for.

``torch.set_float32_matmul_precision`` and ``torch.backends`` let every product of float32 matrices
in a process run in TF32 (Nvidia's GPUs) or bfloat16 ("medium" on a CPU with AMX). One such product
in a step or an initialization throws a point of size 64 off its manifold by 2e-2, and ten thousand
of them in a linear recurrence multiply the norm of its state by 1e9. So what moves, draws or
projects a point, and the recurrence itself, run inside :func:`full_precision_matmul`.

What autograd does by itself does not: the backward pass of ``OrthoRNN(backend="autograd")``, of
:class:`orthornn.OrthoRNNCell` and of a retraction has the precision that the process asked for.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
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


class _ProcessSetting:
    """The precision of products in this process, and how many threads need it full."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads_inside = 0
        self.thread = threading.local()
        self.saved: list[str] | None = None
        self.saved_legacy: str | None = None

    def holds(self) -> bool:
        """Whether this very thread is inside already."""
        return getattr(self.thread, "inside", 0) > 0

    def enter(self) -> None:
        self.thread.inside = getattr(self.thread, "inside", 0) + 1
        with self.lock:
            self.threads_inside += 1
            cpu, gpu = _backends()
            current = [cpu.fp32_precision, gpu.fp32_precision]
            if current[0] not in LOW and current[1] not in LOW:  # each step passes here
                return
            self.saved, self.saved_legacy = current, _legacy()
            if self.saved_legacy is not None:  # or torch would call its two interfaces mixed
                torch.set_float32_matmul_precision("highest")
            for backend in _backends():
                backend.fp32_precision = "ieee"

    def leave(self) -> None:
        self.thread.inside -= 1
        with self.lock:
            self.threads_inside -= 1
            if self.threads_inside or self.saved is None:
                return
            if self.saved_legacy is not None:
                torch.set_float32_matmul_precision(self.saved_legacy)
            for backend, precision in zip(_backends(), self.saved, strict=True):
                if backend.fp32_precision == precision:
                    continue
                backend.fp32_precision = "none"  # which inherits from torch.backends, if set there
                if backend.fp32_precision != precision:
                    backend.fp32_precision = precision
            self.saved = None


_setting = _ProcessSetting()


class full_precision_matmul:  # noqa: N801 (as torch.no_grad)
    """Inside, no product of float32 matrices is less precise than float32.

    A context, or a decorator of a function: ``@full_precision_matmul()``. The setting of the
    process is restored afterwards, when the last thread has left. Inside ``torch.compile`` this
    does nothing: there the compiler decides.
    """

    def __enter__(self) -> None:
        self.entered = not torch.compiler.is_compiling()
        if self.entered:
            _setting.enter()

    def __exit__(self, *_: object) -> None:
        if self.entered:
            _setting.leave()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if torch.compiler.is_compiling() or _setting.holds():
                return function(*args, **kwargs)
            with full_precision_matmul():
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
