"""The table of backends, and the one place that chooses among them.

A new backend is a module with the functions of :class:`orthornn.recurrence.backend.Backend` and a
row of :data:`LOOPS`, fastest first.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch

from orthornn._torch_internals import is_traced_or_transformed
from orthornn._validation import short_repr

from . import eager
from .backend import Backend, Inputs, Kind
from .cpu import engine as cpu
from .scan import Scan
from .self_test import self_test
from .triton import engine as triton

LOOPS: dict[str, Backend] = {"triton": triton, "c": cpu, "eager": eager}  # step by step
# by device: what has to give the numbers of torch's operations before it is trusted
MACHINE_CODE = {"triton": "cuda", "c": "cpu"}


def _choose_loop(inputs: Inputs, kind: Kind) -> Backend:
    """What runs the chunks of a scan: on a GPU torch, whose products suit so large a batch."""
    return LOOPS[_first(("c", "eager"), inputs, kind)]


BACKENDS: dict[str, Backend] = {"scan": Scan(_choose_loop), **LOOPS}
"""The backends that bring an adjoint, by name, fastest first."""
# a loop that autograd differentiates, and the fastest backend as one operator of torch
OTHERS = ("autograd", "custom_op")
FORMER_NAMES = {
    "compiled": "c",
    "fused": "eager",
    "operator": "custom_op",
    "reference": "autograd",
}


def choose(backend: str | None, inputs: Inputs, kind: Kind) -> str:
    """The name of the backend that runs these: the one named, or the fastest that fits (None).

    ``torch.compile`` gets the fastest one as a single operator. What looks inside gets plain
    operations: ``torch.export`` (and ONNX), ``make_fx``, ``torch.jit.trace``, ``torch.func`` and
    forward-mode derivatives.

    Raises:
        ValueError: for an unknown name, or a backend that cannot run these.
    """
    if backend is None:
        if is_traced_or_transformed():
            return "autograd"
        return "custom_op" if torch.compiler.is_compiling() else fastest(inputs, kind)
    _check_name(backend)
    if backend in OTHERS:
        return backend
    if not inputs.x.numel():
        return "eager"  # nothing to run
    _refuse(backend, _unsupported(backend, inputs, kind))
    return backend


def fastest(inputs: Inputs, kind: Kind) -> str:
    """The name of the first backend that is faster than the rest and can run these."""
    return _first(BACKENDS, inputs, kind) if inputs.x.numel() else "eager"


def check_backend(backend: str | None, nonlinearity: str = "identity") -> None:
    """Refuse an unknown backend, and one that this machine or nonlinearity rules out.

    Raises:
        ValueError: naming the choices, or what is missing.
    """
    if backend is None:
        return
    _check_name(backend)
    if backend in BACKENDS:
        _refuse(
            backend, unavailable(backend) or BACKENDS[backend].unsupported((), Kind(nonlinearity))
        )


def backends() -> dict[str, str | None]:
    """The names that ``OrthoRNN(backend=...)`` takes, each with why it cannot run here, or None."""
    reasons = {name: unavailable(name) for name in BACKENDS}
    return {**dict.fromkeys(OTHERS), **reasons}


@functools.cache
def unavailable(name: str, dtype: torch.dtype = torch.float32) -> str | None:
    """Why this machine cannot run a backend, or not trust it with a dtype; None if it can."""
    backend = BACKENDS[name]
    reason = backend.unavailable()
    if reason is not None or name not in MACHINE_CODE:
        return reason
    is_gpu = MACHINE_CODE[name] == "cuda" and torch.cuda.is_available()
    return self_test(backend, torch.device("cuda" if is_gpu else "cpu"), dtype)


def _first(names: Iterable[str], inputs: Inputs, kind: Kind) -> str:
    return next(
        name
        for name in names
        if BACKENDS[name].is_faster(inputs, kind) and _unsupported(name, inputs, kind) is None
    )


def _unsupported(name: str, inputs: Inputs, kind: Kind) -> str | None:
    """Why a backend cannot run these here; None if it can."""
    reason = unavailable(name) or BACKENDS[name].unsupported(inputs, kind)
    return reason or unavailable(name, inputs.x.dtype)


def _check_name(backend: object) -> None:
    name = backend if isinstance(backend, str) else ""
    if name in BACKENDS or name in OTHERS:
        return
    choices = sorted((*BACKENDS, *OTHERS))
    message = f"backend must be None or one of {choices}, got {short_repr(backend)}"
    if name in FORMER_NAMES:
        message += f", which is now called {FORMER_NAMES[name]!r}"
    raise ValueError(message)


def _refuse(backend: str, reason: str | None) -> None:
    if reason is not None:
        raise ValueError(f"backend {backend!r} cannot run this: {reason}")
