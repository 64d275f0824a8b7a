"""What networks have in common whose input chooses an orthogonal map of the state at each step.

# Why the input must choose

With ``h_t = s(W h_{t-1} + V x_t)``, W orthogonal and s 1-Lipschitz (the identity, ReLU, tanh,
modReLU with b <= 0), no step expands. Let a step f keep two states a, b as far apart as they were,
as it must if they stand for different things for ever. For c = a + t(b - a) both
``|f(c) - f(a)| <= t |b - a|`` and ``|f(c) - f(b)| <= (1 - t) |b - a|``, hence
``f(c) = f(a) + t (f(b) - f(a))``: an error along the line between the states is carried on exactly
and never corrected. So there is no latch and no attractor, and none of the state tracking that
needs one. (A gain above 1 brings them back: ``OrthoRNN(gain=...)``.)

With ``h_t = M(x_t) h_{t-1}`` nothing has to be corrected where M(a) M(b) = M(ab) is exact, and
every finite group has such orthogonal matrices.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, overload

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.rnn import PackedSequence
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from orthornn._validation import check_type, short_repr
from orthornn.recurrence import SWITCHED
from orthornn.recurrence.switched.inputs import MATRIX, REFLECTIONS, Inputs, Kind

from . import precision
from .exact_gate import START, exact_gate
from .fx import call_in_graph, is_proxy
from .packing import last_states
from .precision import cast
from .sequences import Sequences

Map = nn.Embedding | nn.Linear
Read = Callable[[Map], Tensor]


class TransitionRNN(nn.Module):
    """``h_t = g (M(x_t) h_{t-1} + V(x_t)) + (1 - g) r(x_t)``, g in {0, 1}; abstract.

    Args:
        make_map: makes the module that gives so many numbers for each input.
        hidden_size: H.
        batch_first: whether the batch comes before time.
        additive: whether there is V.
        resets: whether there are g and r.
        reflections: k; None where M is a matrix of the subclass.
        backend: a name of the table of backends, or None.
        factory: device and dtype of the parameters.
    """

    feature_axes: ClassVar[int]
    """Axes of one step's input: 0 for tokens."""

    initial_state: nn.Parameter

    def __init__(
        self,
        make_map: Callable[[int], Map],
        hidden_size: int,
        batch_first: bool,
        additive: bool,
        resets: bool,
        reflections: int | None,
        backend: str | None,
        factory: dict[str, Any],
    ) -> None:
        check_type(bool, batch_first=batch_first, additive=additive, resets=resets)
        if reflections is not None and (
            isinstance(reflections, bool) or not isinstance(reflections, int) or reflections < 1
        ):
            raise ValueError(
                f"reflections must be None or an int of at least 1, got {short_repr(reflections)}"
            )
        SWITCHED.check_backend(backend, Kind())
        super().__init__()
        self.hidden_size = hidden_size
        self.batch_first = batch_first
        self.additive = additive
        self.resets = resets
        self.reflections = reflections
        self.backend = backend
        self.initial_state = nn.Parameter(torch.empty(hidden_size, **factory))
        if self.initial_state.is_complex():
            raise ValueError(f"expected a real dtype, got {self.initial_state.dtype}")
        self.vectors = None if reflections is None else make_map(reflections * hidden_size)
        self.shift = make_map(hidden_size) if additive else None
        self.gate = make_map(1) if resets else None
        self.reset = make_map(hidden_size) if resets else None

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw every parameter anew: directions uniformly, V from 0, all gates open."""
        unit_vectors_(self.initial_state)
        for map in (self.vectors, self.reset):
            if map is not None:
                unit_vectors_(self._rows_of_states(_table(map)))
                if isinstance(map, nn.Linear):
                    map.weight.normal_(0, 1 / math.sqrt(map.in_features))
        for map, value in ((self.shift, 0.0), (self.gate, START)):
            if map is not None:
                map.weight.zero_()
                _table(map).fill_(value)

    @overload
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: Tensor | None = None
    ) -> tuple[PackedSequence, Tensor]: ...

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the network over ``input`` from ``hx``; returns ``(output, h_n)``."""
        if is_proxy(input, hx):
            return call_in_graph(self, input, hx)  # type: ignore[no-any-return]
        self._check_axes(input)
        sequences = Sequences.of(input, self.batch_first, self.feature_axes)
        self._check_input(sequences.rows)
        # len() would fix T in exports
        if sequences.layout is None and sequences.rows.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN, got 0")
        if hx is not None:
            self._check_state(hx, sequences)
        self._make_weights()
        with precision.in_weight_precision(self._example(sequences.rows)) as out_dtype:
            inputs, kind = self._inputs(sequences, hx)
            h = SWITCHED.run(inputs, kind, self.backend)
            h_n = sequences.restore_states(last_states(h, sequences.layout))
            return sequences.restore(cast(h, out_dtype)), cast(h_n, out_dtype)

    def backend_for(self, input: Tensor | PackedSequence) -> str:
        """The name of the backend that runs over ``input``."""
        sequences = Sequences.of(input, self.batch_first, self.feature_axes)
        with torch.no_grad():
            return SWITCHED.choose(self.backend, *self._inputs(sequences, None))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        precision.refuse_complex(fn, self.initial_state)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _make_weights(self) -> None:
        """Those that torch.nn.utils makes before a map's forward, which read() goes round."""
        for map in self.children():
            for hook in map._forward_pre_hooks.values():
                if isinstance(hook, (BasePruningMethod, WeightNorm, SpectralNorm)):
                    hook(map, ())

    @abstractmethod
    def _check_input(self, rows: Tensor) -> None:
        """Refuse rows (T, B, ...) or (N, ...) that are not for this module."""

    @abstractmethod
    def _example(self, rows: Tensor) -> Tensor:
        """A tensor of the dtype that the output is to have."""

    @abstractmethod
    def _reader(self, rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Read]:
        """Which row of the tables each step takes, and how to read the table of a map."""

    @abstractmethod
    def _weight(self, read: Read) -> Tensor:
        """The matrices (V, H, H), or the unit vectors (V, k, H), of the tables' rows."""

    def _unit_vectors(self, read: Read) -> Tensor:
        """Those of the reflections."""
        assert self.vectors is not None
        return functional.normalize(self._rows_of_states(read(self.vectors)), dim=-1)

    def _rows_of_states(self, a: Tensor) -> Tensor:
        """(..., k H) as (..., k, H)."""
        k = a.shape[-1] // self.hidden_size
        return a.view(*a.shape[:-1], k, self.hidden_size)

    def _inputs(self, sequences: Sequences, hx: Tensor | None) -> tuple[Inputs, Kind]:
        """Everything in the precision of the transitions."""
        dtype = precision.at_least_float32(self.initial_state.dtype)
        tokens, read = self._reader(sequences.rows, dtype)
        weight = cast(self._weight(read), dtype)
        gate, shift = None, None if self.shift is None else read(self.shift)
        if self.gate is not None and self.reset is not None:
            gate = exact_gate(read(self.gate).squeeze(-1))
            open_, shut = gate.unsqueeze(-1), (1 - gate).unsqueeze(-1)
            reset = shut * read(self.reset)
            shift = reset if shift is None else open_ * shift + reset
        if hx is None:
            h0 = self.initial_state.expand(sequences.batch_size, -1)
        else:
            h0 = sequences.sort_states(hx)
        transition = MATRIX if self.vectors is None else REFLECTIONS
        layout = sequences.layout
        kind = Kind(transition, None if layout is None else layout.batch_sizes)
        return Inputs(tokens, cast(h0, dtype), weight, gate, shift), kind

    def _check_axes(self, input: Tensor | PackedSequence) -> None:
        axes = self.feature_axes
        choices = (1 + axes,) if isinstance(input, PackedSequence) else (1 + axes, 2 + axes)
        data = input.data if isinstance(input, PackedSequence) else input
        if not isinstance(data, Tensor):
            raise TypeError(f"expected a tensor or a PackedSequence, got {type(data).__name__}")
        if data.dim() not in choices:
            expected = " or ".join(f"{n}D" for n in choices)
            raise ValueError(
                f"{type(self).__name__}: Expected input to be {expected}, got {data.dim()}D "
                f"tensor instead"
            )

    def _check_state(self, hx: Tensor, sequences: Sequences) -> None:
        """Refuse what torch.nn.RNN refuses."""
        if not isinstance(hx, Tensor):
            raise TypeError(f"expected hx to be a tensor, got {type(hx).__name__}")
        batch = () if sequences.batch_axis is None else (sequences.batch_size,)
        expected = (1, *batch, self.hidden_size)
        if hx.shape != expected:
            raise RuntimeError(f"Expected hidden size {expected}, got {list(hx.shape)}")
        if hx.device != self.initial_state.device:
            raise RuntimeError(
                f"Input and hidden tensors are not at the same device, found input tensor at "
                f"{self.initial_state.device} and hidden tensor at {hx.device}"
            )
        if not precision.accepts_dtype(self.initial_state.dtype, hx):
            raise RuntimeError(
                f"hx must have the type {self.initial_state.dtype}, got type {hx.dtype}"
            )


def unit_vectors_(a: Tensor) -> Tensor:
    """Fill with uniformly distributed unit vectors along the last axis."""
    a.normal_()
    return a.div_(torch.linalg.vector_norm(a, dim=-1, keepdim=True))


def _table(map: Map) -> Tensor:
    """What a map gives for each token, or for an input of zeros."""
    return map.bias if isinstance(map, nn.Linear) else map.weight
