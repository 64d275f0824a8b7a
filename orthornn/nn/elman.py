"""ElmanRNN: the contract of ``torch.nn.RNN`` on this library's recurrence, with plain weights."""

from __future__ import annotations

from typing import Any, ClassVar, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.rnn import PackedSequence

from orthornn._validation import check_choice, check_ranges
from orthornn.init import INITIALIZERS
from orthornn.recurrence import ELMAN
from orthornn.recurrence.elman.inputs import Inputs, Kind
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

from . import precision
from .fx import call_in_graph, is_proxy
from .packing import PackedLayout, last_states, packed_layout, reverse
from .parameters import add_modrelu_bias, init_parameters, total_bias
from .precision import cast


class ElmanRNN(nn.RNNBase):
    """``h_t = s(W h_{t-1} + V x_t + b_ih + b_hh)`` with plain weights.

    The base of :class:`orthornn.OrthoRNN`, where arguments, shapes, errors and the start of the
    parameters are described. Here W is a parameter like any other: every optimizer may train it,
    and ``torch.nn.utils.parametrize`` may put a function of parameters in its place, which is
    evaluated once in a forward pass, whatever the length.

    Args:
        input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout,
        bidirectional, device, dtype, init, backend, proj_size: as for :class:`orthornn.OrthoRNN`.

    Raises:
        ValueError: for an option out of its range, naming the choices; an input with another number
            of axes or another dtype.
        TypeError: for an argument of another type.
        RuntimeError: for an input or h0 of another shape, an h0 of another dtype.
        torch.fx.proxy.TraceError: where ``torch.fx`` traces the module itself, not one around it.
    """

    _options: ClassVar[tuple[str, ...]] = ("nonlinearity", "init")  # that its repr shows

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "modrelu",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: str = "henaff",
        backend: str | None = None,
        proj_size: None = None,
    ) -> None:
        if proj_size is not None:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        # begins as torch.nn.RNN's own error does
        check_choice("Unknown nonlinearity: nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, INITIALIZERS)
        ELMAN.check_backend(backend, Kind(nonlinearity))
        check_ranges(dropout, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        # torch's constructor registers the parameters and draws them; it has to find these
        self.nonlinearity = nonlinearity
        self.init = init
        self.backend = backend
        super().__init__(
            "RNN_TANH",  # for the sizes only
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.mode = f"RNN_{nonlinearity.upper()}"
        if NONLINEARITIES[nonlinearity].has_bias:
            for suffix in self.suffixes:
                add_modrelu_bias(self, suffix, like=getattr(self, f"weight_ih{suffix}"))

    @property
    def suffixes(self) -> list[str]:
        """The ends of the parameters' names, by layer and then direction, the order of h_n."""
        return [names[0].removeprefix("weight_ih") for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draw every parameter anew, recurrent weights by ``init``."""
        init_parameters(self, self.init)

    def flatten_parameters(self) -> None:
        """Nothing: torch.nn.RNN's parameters share one buffer on a GPU, these do not."""

    def _init_flat_weights(self) -> None:
        if is_parametrized(self):  # torch's list would evaluate the weights, and keep their graph
            self._flat_weights_names, self._flat_weights, self._flat_weight_refs = [], [], []
        else:
            super()._init_flat_weights()

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
        if isinstance(input, PackedSequence):
            x, batch_sizes, sorted_indices, unsorted_indices = input
            self._check(x, hx, batch_sizes)
            if hx is not None:
                hx = self.permute_hidden(hx, sorted_indices)
            x, h_n = self._layers(x, hx, packed_layout(batch_sizes, x))
            packed = PackedSequence(x, batch_sizes, sorted_indices, unsorted_indices)
            return packed, self.permute_hidden(h_n, unsorted_indices)

        if input.dim() not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D tensor "
                f"instead"
            )
        batched = input.dim() == 3
        if hx is not None and hx.dim() != input.dim():
            kind = f"{'' if batched else 'un'}batched {input.dim()}-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {input.dim()}-D but got {hx.dim()}-D tensor"
            )
        batch_axis = 0 if self.batch_first else 1
        x = input if batched else input.unsqueeze(batch_axis)
        hx = hx if batched or hx is None else hx.unsqueeze(1)
        self._check(x, hx, None)
        x, h_n = self._layers(x.transpose(0, 1) if self.batch_first else x, hx, None)
        x = x.transpose(0, 1) if self.batch_first else x
        return (x, h_n) if batched else (x.squeeze(batch_axis), h_n.squeeze(1))

    def backend_for(self, input: Tensor | PackedSequence) -> str:
        """The name of the backend that runs the first layer over ``input``."""
        sizes = input.batch_sizes if isinstance(input, PackedSequence) else None
        w_hh: Any = self.weight_hh_l0
        w_ih: Any = self.weight_ih_l0
        x = cast(input.data, precision.at_least_float32(w_hh.dtype))
        if sizes is None and x.dim() == 2:
            x = x.unsqueeze(1)
        elif sizes is None and self.batch_first:
            x = x.transpose(0, 1)
        h0 = x.new_empty(x.shape[1] if sizes is None else int(sizes[0]), self.hidden_size)
        inputs = Inputs(x, h0, cast(w_hh, x.dtype), cast(w_ih, x.dtype))
        return ELMAN.choose(self.backend, inputs, Kind(self.nonlinearity, sizes))

    def extra_repr(self) -> str:
        options = {name: getattr(self, name) for name in (*self._options, "backend")}
        shown = [f"{name}={value}" for name, value in options.items() if value is not None]
        return ", ".join((super().extra_repr(), *shown))

    def _check(self, input: Tensor, hx: Tensor | None, batch_sizes: Tensor | None) -> None:
        """Refuse what torch.nn.RNN refuses, before anything is computed."""
        weight: Any = self.weight_ih_l0
        if not precision.accepts_dtype(weight.dtype, input):
            error = ValueError if precision.autocast_dtype(input) is None else RuntimeError
            raise error(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        axes = 3 if batch_sizes is None else 2
        if input.dim() != axes:
            raise RuntimeError(f"input must have {axes} dimensions, got {input.dim()}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.shape[-1]}"
            )
        if batch_sizes is None and input.shape[1 if self.batch_first else 0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN, got 0")
        if input.device != weight.device:
            raise RuntimeError(
                f"Input and parameter tensors are not at the same device, found input tensor at "
                f"{input.device} and parameter tensor at {weight.device}"
            )
        if hx is None:
            return
        self.check_hidden_size(hx, self.get_expected_hidden_size(input, batch_sizes))
        if hx.device != input.device:
            raise RuntimeError(
                f"Input and hidden tensors are not at the same device, found input tensor at "
                f"{input.device} and hidden tensor at {hx.device}"
            )
        if not precision.accepts_dtype(weight.dtype, hx):
            raise RuntimeError(f"hx must have the type {weight.dtype}, got type {hx.dtype}")

    def _layers(
        self, x: Tensor, hx: Tensor | None, layout: PackedLayout | None
    ) -> tuple[Tensor, Tensor]:
        """All layers and directions over time-first or packed rows."""
        finals: list[Tensor] = []
        suffixes = iter(self.suffixes)
        with precision.in_weight_precision(x) as out_dtype:
            for layer in range(self.num_layers):
                if layer > 0 and self.training and self.dropout != 0:
                    x = torch.dropout(x, self.dropout, True)
                outputs = []
                for backward in (False, True) if self.bidirectional else (False,):
                    h0 = None if hx is None else hx[len(finals)]
                    h = self._run(reverse(x, layout) if backward else x, h0, next(suffixes), layout)
                    finals.append(last_states(h, layout))
                    outputs.append(reverse(h, layout) if backward else h)
                x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
            return cast(x, out_dtype), cast(torch.stack(finals), out_dtype)

    def _run(
        self, x: Tensor, h0: Tensor | None, suffix: str, layout: PackedLayout | None
    ) -> Tensor:
        """One recurrence, in the precision of its recurrent weight."""
        w_hh = self._read_weight(f"weight_hh{suffix}")
        dtype = precision.at_least_float32(w_hh.dtype)
        if h0 is None:
            batch = x.shape[1] if layout is None else len(layout.last_rows)
            h0 = x.new_zeros(batch, self.hidden_size, dtype=dtype)
        inputs = Inputs(
            cast(x, dtype),
            cast(h0, dtype),
            cast(w_hh, dtype),
            cast(getattr(self, f"weight_ih{suffix}"), dtype),
            cast(total_bias(self, suffix), dtype),
            cast(getattr(self, f"modrelu_bias{suffix}", None), dtype),
        )
        kind = Kind(self.nonlinearity, None if layout is None else layout.batch_sizes)
        return ELMAN.run(inputs, kind, self.backend)

    def _read_weight(self, name: str) -> Tensor:
        w: Tensor = getattr(self, name)
        return w
