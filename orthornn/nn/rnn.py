"""OrthoRNN: the contract of ``torch.nn.RNN`` around one orthogonal recurrence."""

from __future__ import annotations

import torch

from orthornn._validation import check_choice
from orthornn.manifolds.retractions import RETRACTIONS

from .elman import ElmanRNN
from .parameters import add_gain, check_gain
from .recurrent_weight import OrthogonalWeights


class OrthoRNN(OrthogonalWeights, ElmanRNN):
    """A drop-in for ``torch.nn.RNN`` whose recurrent weights are orthogonal and stay so.

    ``h_t = s(W h_{t-1} + V x_t + b_ih + b_hh)`` with ``WᵀW = I``: every singular value of the
    linear part of the Jacobian is 1, so a gradient neither explodes nor vanishes through it. What
    the nonlinearity takes away is lost all the same: modReLU and ReLU cut off the units they switch
    off, tanh shrinks the gradient at every step (:mod:`orthornn.recurrence.elman.nonlinearity`).

    Arguments, shapes, errors, and the names and order of the parameters are those of
    ``torch.nn.RNN`` (2.13); with tanh or relu the state dict is one of ``torch.nn.RNN``. It is a
    ``torch.nn.RNNBase``. The differences:

    * each ``weight_hh_l*`` is a ``geoopt.ManifoldParameter`` on :class:`orthornn.Stiefel` and has
      to be trained by a Riemannian optimizer (:func:`orthornn.param_groups` and
      :class:`orthornn.RiemannianRMSprop`, or geoopt's); a plain one leaves the manifold, and a
      :class:`orthornn.OffManifoldWarning` says so where the weight is used (but not under
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
      (:class:`OrthoRNNCell`, or T = 1) and loop outside, or take ``backend="custom_op"``, which any
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
        gain: g, which multiplies W where it is used, ``s(g W h + V x + c)``. With g = 1 and a
            nonlinearity that stretches nothing an error of the state is never corrected, and with
            it no latch is possible (:mod:`orthornn.nn.transitions` has the proof); with g > 1 and
            tanh there are attractors, and gradients may grow.
        learn_gain: whether g is learned from there, ``gain_hh_l*``, one a recurrent weight.
        backend: implementation of the recurrence; None picks the fastest that fits where it runs,
            which :meth:`backend_for` names. ``"c"`` is compiled for this processor at first use,
            where there is a compiler. ``"triton"`` runs on a GPU. ``"scan"`` runs the linear
            recurrence in parallel chunks, ``"eager"`` torch's operations with the adjoint by hand.
            ``"custom_op"`` is the fastest of them as one operator. None of these knows
            ``torch.func`` or a forward mode. ``"autograd"`` is the plain loop under autograd, and
            fits everywhere. :func:`orthornn.backends` says which of them run here.
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

    _options = ("nonlinearity", "init", "retraction")

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
        gain: float = 1.0,
        learn_gain: bool = False,
        backend: str | None = None,
        proj_size: None = None,
    ) -> None:
        check_choice("retraction", retraction, RETRACTIONS)
        check_gain(gain, learn_gain)
        # before torch's constructor registers the weights
        self.retraction, self.gain, self.learn_gain = retraction, float(gain), learn_gain
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            init=init,
            backend=backend,
            proj_size=proj_size,
        )
        if learn_gain:
            for suffix in self.suffixes:
                add_gain(self, suffix, gain, like=getattr(self, f"weight_ih{suffix}"))

    def extra_repr(self) -> str:
        return super().extra_repr() + self._gain_text()
