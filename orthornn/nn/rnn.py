"""OrthoRNN: the contract of ``torch.nn.RNN`` around one orthogonal recurrence."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from orthornn._validation import check_choice, check_ranges
from orthornn.init import INITIALIZERS
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.recurrence.dispatch import check_backend, choose, runs
from orthornn.recurrence.nonlinearity import NONLINEARITIES

from . import precision
from .fx import call_in_graph, is_proxy
from .off_manifold import warn_of_departure
from .packing import Packing, backwards, last, packing
from .parameters import add_threshold, total_bias
from .precision import cast
from .recurrent_weight import keeps_points, ordinary


@keeps_points
class OrthoRNN(nn.RNNBase):
    """A drop-in for ``torch.nn.RNN`` whose recurrent weights are orthogonal and stay so.

    ``h_t = s(W h_{t-1} + V x_t + b_ih + b_hh)`` with ``WᵀW = I``: every singular value of the
    linear part of the Jacobian is 1, so a gradient neither explodes nor vanishes through it. What
    the nonlinearity takes away is lost all the same: modReLU and ReLU cut off the units they switch
    off, tanh shrinks the gradient at every step (:mod:`orthornn.recurrence.nonlinearity`).

    Arguments, shapes, errors, and the names and order of the parameters are those of
    ``torch.nn.RNN`` (2.13); with tanh or relu the state dict is one of ``torch.nn.RNN``. It is a
    ``torch.nn.RNNBase``. The differences:

    * each ``weight_hh_l*`` is a ``geoopt.ManifoldParameter`` on :class:`orthornn.Stiefel` and has
      to be trained by a Riemannian optimizer (:func:`orthornn.param_groups` and
      :class:`orthornn.RiemannianRMSprop`, or geoopt's); a plain one leaves the manifold, and a
      :class:`orthornn.DepartureWarning` says so where the weight is used (but not under
      ``torch.compile``);
    * the default nonlinearity is modReLU, which adds ``modrelu_bias_l*`` after the others (also
      with ``bias=False``: without it modReLU is the identity);
    * ``weight_hh`` starts from ``init``, ``weight_ih`` Kaiming normal and modReLU's bias from
      U(-0.01, 0.01), as in expRNN (Lezcano-Casado & Martínez-Rubio, 2019), which has no other
      biases; here they start like modReLU's;
    * loading or assigning a recurrent weight that is not orthogonal raises RuntimeError before
      anything of this module changes; :func:`orthornn.project_` takes the nearest one. It cannot be
      deleted or parametrized (TypeError). After ``to_empty`` it is the identity until it is drawn
      or loaded;
    * ``weight_hh`` is float32 or float64, whatever the module's dtype: ``half()``, ``bfloat16()``
      and autocast concern what goes in and comes out, the states run in the precision of
      ``weight_hh`` (:mod:`orthornn.nn.precision`). Complex modules are refused: ValueError at
      construction, TypeError by ``to``;
    * an initial state with too many rows is refused for unsorted packed input as well, and packed
      rows that ``batch_sizes`` do not count;
    * ``vmap``, per-sample gradients and, unless the input is packed,
      ``torch.compile(fullgraph=True)`` work. ``torch.export``, ONNX and ``torch.jit.trace`` unroll
      the loop and fix its length, and take no packed input; for long sequences export one step
      (:class:`OrthoRNNCell`, or T = 1) and loop outside, or take ``backend="operator"``, which any
      length fits, in torch. ``torch.jit.script`` does not work;
    * the output is kept for the backward pass: writing into it, as ``nn.ReLU(inplace=True)`` would,
      raises then; clone it first;
    * FSDP is refused when it wraps the module, with the way out; DistributedDataParallel works.

    Args:
        input_size: features I of the input.
        hidden_size: features H of the state.
        num_layers: stacked layers L.
        nonlinearity: ``"modrelu"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or ``"identity"``.
        bias: whether to use ``b_ih`` and ``b_hh``.
        batch_first: whether input and output are (B, T, ·) instead of (T, B, ·).
        dropout: probability of zeroing an output of every layer but the last, in training.
        bidirectional: whether to run a second recurrence from the end (D = 2).
        device, dtype: of the parameters.
        init: start of the recurrent weights, ``"henaff"``, ``"cayley"``, ``"haar"`` or
            ``"identity"``; see :mod:`orthornn.init` for which suits which task.
        retraction: of the manifold, ``"polar"``, ``"svd"``, ``"qr"``, ``"cayley"`` or ``"exp"``.
        backend: implementation of the recurrence; None picks the fastest that fits where it runs,
            which :meth:`backend_for` names. ``"compiled"`` is C, made for this processor at first
            use where there is a compiler, ``"scan"`` the linear recurrence in parallel chunks,
            ``"fused"`` torch's operations with the adjoint by hand, ``"operator"`` the fastest as
            one operator; none of these knows ``torch.func`` or a forward mode. ``"reference"`` is
            the plain autograd loop and fits everywhere. :func:`orthornn.backends` says which of
            them run here.
        proj_size: refused, as by ``torch.nn.RNN``.

    Shape:
        input ``(T, B, I)``, ``(B, T, I)`` if batch_first, ``(T, I)``, or a ``PackedSequence``;
        h0 ``(D·L, B, H)`` or ``(D·L, H)``, zero if None;
        output ``(T, B, D·H)``, ``(B, T, D·H)``, ``(T, D·H)`` or packed; h_n like h0, each
        sequence's own last state.

    Raises:
        ValueError: for an option out of its range, naming the choices; an input with another number
            of axes or another dtype.
        TypeError: for an argument of another type.
        RuntimeError: for an input or h0 of another shape, an h0 of another dtype.
        torch.fx.proxy.TraceError: where ``torch.fx`` traces the module itself, not one around it.

    Example:
        >>> rnn = OrthoRNN(10, 190)
        >>> output, h_n = rnn(torch.randn(1000, 128, 10))
    """

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
        retraction: str = "polar",
        backend: str | None = None,
        proj_size: None = None,
    ) -> None:
        if proj_size is not None:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        check_choice("nonlinearity", nonlinearity, NONLINEARITIES)
        check_choice("init", init, INITIALIZERS)
        check_choice("retraction", retraction, RETRACTIONS)
        check_backend(backend, nonlinearity)
        check_ranges(dropout, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        # torch's constructor registers the parameters and draws them; it has to find these
        self.nonlinearity = nonlinearity
        self.init = init
        self.retraction = retraction
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
            for suffix in self._suffixes():
                add_threshold(self, suffix, like=getattr(self, f"weight_ih{suffix}"))

    def flatten_parameters(self) -> None:
        """Nothing: torch.nn.RNN's parameters share one buffer on a GPU, these do not."""

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
            x, h_n = self._layers(x, hx, packing(batch_sizes, x))
            packed = PackedSequence(x, batch_sizes, sorted_indices, unsorted_indices)
            return packed, self.permute_hidden(h_n, unsorted_indices)

        if input.dim() not in (2, 3):
            raise ValueError(
                f"OrthoRNN: Expected input to be 2D or 3D, got {input.dim()}D tensor instead"
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
        weight: Any = self.weight_hh_l0
        w_hh = ordinary(weight)
        x = cast(input.data, precision.at_least_single(w_hh.dtype))
        if sizes is None and x.dim() == 2:
            x = x.unsqueeze(1)
        elif sizes is None and self.batch_first:
            x = x.transpose(0, 1)
        h0 = x.new_empty(x.shape[1] if sizes is None else int(sizes[0]), self.hidden_size)
        return runs(self.backend, (x, h0, w_hh), self.nonlinearity, sizes)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        for name in ("nonlinearity", "init", "retraction"):
            text += f", {name}={getattr(self, name)}"
        return text if self.backend is None else f"{text}, backend={self.backend}"

    def _suffixes(self) -> list[str]:
        """The ends of the parameters' names, by layer and then direction, the order of h_n."""
        return [names[0].removeprefix("weight_ih") for names in self._all_weights]

    def _check(self, input: Tensor, hx: Tensor | None, batch_sizes: Tensor | None) -> None:
        """Refuse what torch.nn.RNN refuses, before anything is computed."""
        weight: Any = self.weight_ih_l0
        if not precision.accepts(weight.dtype, input):
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
        if not precision.accepts(weight.dtype, hx):
            raise RuntimeError(f"hx must have the type {weight.dtype}, got type {hx.dtype}")

    def _layers(
        self, x: Tensor, hx: Tensor | None, layout: Packing | None
    ) -> tuple[Tensor, Tensor]:
        """All layers and directions over time-first or packed rows."""
        finals: list[Tensor] = []
        suffixes = iter(self._suffixes())
        with precision.full_precision(x) as out:
            for layer in range(self.num_layers):
                if layer > 0 and self.training and self.dropout != 0:
                    x = torch.dropout(x, self.dropout, True)
                outputs = []
                for reverse in (False, True) if self.bidirectional else (False,):
                    h0 = None if hx is None else hx[len(finals)]
                    given = backwards(x, layout) if reverse else x
                    h = self._run(given, h0, next(suffixes), layout)
                    finals.append(last(h, layout))
                    outputs.append(backwards(h, layout) if reverse else h)
                x = torch.cat(outputs, -1) if self.bidirectional else outputs[0]
            return cast(x, out), cast(torch.stack(finals), out)

    def _run(self, x: Tensor, h0: Tensor | None, suffix: str, layout: Packing | None) -> Tensor:
        """One recurrence, in the precision of its recurrent weight."""
        w_hh = getattr(self, f"weight_hh{suffix}")
        warn_of_departure(self, f"weight_hh{suffix}", w_hh)
        w_hh = ordinary(w_hh)
        dtype = precision.at_least_single(w_hh.dtype)
        if h0 is None:
            batch = x.shape[1] if layout is None else len(layout.last)
            h0 = x.new_zeros(batch, self.hidden_size, dtype=dtype)
        return choose(self.backend)(
            cast(x, dtype),
            cast(h0, dtype),
            cast(w_hh, dtype),
            cast(getattr(self, f"weight_ih{suffix}"), dtype),
            cast(total_bias(self, suffix), dtype),
            cast(getattr(self, f"modrelu_bias{suffix}", None), dtype),
            self.nonlinearity,
            None if layout is None else layout.batch_sizes,
        )
