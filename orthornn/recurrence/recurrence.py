"""A recurrence: its tensors, its loop, its table of backends, and the one place that chooses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from orthornn._torch_internals import disable_dynamo, is_traced_or_transformed
from orthornn._validation import short_repr

from .autograd import run_backend
from .backend import Backend
from .custom_op import define_operator
from .self_test import Problem, self_test

# a loop that autograd differentiates, and the fastest backend as one operator of torch
OTHERS = ("autograd", "custom_op")
# by device: what has to give the numbers of torch's operations before it is trusted
MACHINE_CODE = {"triton": "cuda", "c": "cpu"}
FORMER_NAMES = {
    "compiled": "c",
    "fused": "eager",
    "operator": "custom_op",
    "reference": "autograd",
}


class Recurrence:
    """What is computed, and all ways to compute it.

    A new backend is a module with the functions of :class:`orthornn.recurrence.backend.Backend`
    and a row of ``backends``.

    Args:
        name: of its operator, ``orthornn::name``.
        inputs: the tuple of its tensors. The first runs along time and is empty where there is
            nothing to run; ``h0`` is among them; ``states_shape`` is that of the states.
        kind: the tuple of its forms: strings, and in the end ``batch_sizes`` or None.
        needed: the tuple of flags with the fields of ``inputs``.
        reference: ``(inputs, kind) -> states`` in plain operations, for every transform and
            compiler that looks inside; differentiable any number of times, backward and forward.
        backends: those that bring an adjoint, by name, fastest first. The last takes whatever
            torch's operations take; machine code is compared with it.
        problems: small ones for that comparison, on a device and in a dtype.
    """

    def __init__(
        self,
        name: str,
        inputs: type,
        kind: type,
        needed: type,
        reference: Callable[[Any, Any], Tensor],
        backends: Mapping[str, Backend],
        problems: Callable[[torch.device, torch.dtype], Iterator[Problem]],
    ) -> None:
        self.name = name
        self.inputs, self.kind, self.needed = inputs, kind, needed
        self.reference = reference
        self.backends = dict(backends)
        self.problems = problems
        self.unavailable = functools.cache(self._unavailable)
        self.operator = define_operator(self)

    def run(self, inputs: Any, kind: Any, backend: str | None = None) -> Tensor:
        """The states, differentiable in every input.

        Args:
            inputs: the tensors.
            kind: the form.
            backend: a name of :func:`orthornn.backends`; None for the fastest that fits.

        Returns:
            h, (T, B, H) or packed (N, H).

        Raises:
            ValueError: for an unknown name, or a backend that cannot run these.
        """
        if torch.compiler.is_compiling() and backend in self.backends:
            return _run_uncompiled(self, inputs, kind, backend)
        return _run(self, inputs, kind, backend)

    def choose(self, backend: str | None, inputs: Any, kind: Any) -> str:
        """The name of the backend that runs these: the one named, or the fastest that fits (None).

        ``torch.compile`` gets the fastest one as a single operator. What looks inside gets plain
        operations: ``torch.export`` (and ONNX), ``make_fx``, ``torch.jit.trace``, ``torch.func``
        and forward-mode derivatives.

        Raises:
            ValueError: for an unknown name, or a backend that cannot run these.
        """
        if backend is None:
            if is_traced_or_transformed():
                return "autograd"
            return "custom_op" if torch.compiler.is_compiling() else self.fastest(inputs, kind)
        self._check_name(backend)
        if backend in OTHERS:
            return backend
        if not inputs[0].numel():
            return self._last  # nothing to run
        _refuse(backend, self._unsupported(backend, inputs, kind))
        return backend

    def fastest(self, inputs: Any, kind: Any) -> str:
        """The name of the first backend that is faster than the rest and can run these."""
        return self.first(self.backends, inputs, kind) if inputs[0].numel() else self._last

    def first(self, names: Iterable[str], inputs: Any, kind: Any) -> str:
        """The first of these names that is faster than the rest and can run these."""
        return next(
            name
            for name in names
            if self.backends[name].is_faster(inputs, kind)
            and self._unsupported(name, inputs, kind) is None
        )

    def check_backend(self, backend: str | None, kind: Any) -> None:
        """Refuse an unknown backend, and one that this machine or the kind rules out.

        Raises:
            ValueError: naming the choices, or what is missing.
        """
        if backend is None:
            return
        self._check_name(backend)
        if backend in self.backends:
            reason = self.unavailable(backend) or self.backends[backend].unsupported((), kind)
            _refuse(backend, reason)

    def availability(self) -> dict[str, str | None]:
        """The names of all backends, each with why it cannot run here, or None."""
        reasons = {name: self.unavailable(name) for name in self.backends}
        return {**dict.fromkeys(OTHERS), **reasons}

    @property
    def fallback(self) -> Backend:
        """The backend that takes whatever torch's operations take."""
        return self.backends[self._last]

    @property
    def _last(self) -> str:
        return next(reversed(self.backends))

    def _unavailable(self, name: str, dtype: torch.dtype = torch.float32) -> str | None:
        """Why this machine cannot run a backend, or not trust it with a dtype; None if it can."""
        backend = self.backends[name]
        reason = backend.unavailable()
        if reason is not None or name not in MACHINE_CODE:
            return reason
        is_gpu = MACHINE_CODE[name] == "cuda" and torch.cuda.is_available()
        device = torch.device("cuda" if is_gpu else "cpu")
        return self_test(backend, self.fallback, self.needed, self.problems(device, dtype))

    def _unsupported(self, name: str, inputs: Any, kind: Any) -> str | None:
        """Why a backend cannot run these here; None if it can."""
        reason = self.unavailable(name) or self.backends[name].unsupported(inputs, kind)
        return reason or self.unavailable(name, inputs.h0.dtype)

    def _check_name(self, backend: object) -> None:
        name = backend if isinstance(backend, str) else ""
        if name in self.backends or name in OTHERS:
            return
        choices = sorted((*self.backends, *OTHERS))
        message = f"backend must be None or one of {choices}, got {short_repr(backend)}"
        if name in FORMER_NAMES:
            message += f", which is now called {FORMER_NAMES[name]!r}"
        raise ValueError(message)


def _run(recurrence: Recurrence, inputs: Any, kind: Any, backend: str | None) -> Tensor:
    name = recurrence.choose(backend, inputs, kind)
    if name == "autograd":
        return recurrence.reference(inputs, kind)
    if name == "custom_op":
        return recurrence.operator(*inputs, *kind)
    return run_backend(recurrence, recurrence.backends[name], inputs, kind)


# a compiler would trace the self-test, the loading of libraries and the loop over time
_run_uncompiled = disable_dynamo(_run)


def _refuse(backend: str, reason: str | None) -> None:
    if reason is not None:
        raise ValueError(f"backend {backend!r} cannot run this: {reason}")
