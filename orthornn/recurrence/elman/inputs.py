"""The tensors of the recurrence ``h_t = s(W h_{t-1} + V x_t + c)``, and its forms."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Inputs(NamedTuple):
    """The tensors of ``h_t = s(W h_{t-1} + V x_t + c)``, all of one dtype.

    Attributes:
        x: the inputs, (T, B, I), or packed (N, I).
        h0: the state before the first step, (B, H).
        w_hh: W, (H, H).
        w_ih: V, (H, I).
        bias: c, (H,), or None.
        modrelu_bias: the b of modReLU, (H,), or None for another nonlinearity.
    """

    x: Tensor
    h0: Tensor
    w_hh: Tensor
    w_ih: Tensor
    bias: Tensor | None = None
    modrelu_bias: Tensor | None = None

    @property
    def states_shape(self) -> tuple[int, ...]:
        """That of the states."""
        return *self.x.shape[:-1], self.h0.shape[-1]


class Kind(NamedTuple):
    """Which recurrence runs over the tensors.

    Attributes:
        nonlinearity: s, a key of :data:`orthornn.recurrence.elman.nonlinearity.NONLINEARITIES`.
        batch_sizes: None, or for packed rows, as in ``torch.nn.utils.rnn.PackedSequence``, the
            falling numbers of sequences at each step: (T,), N in all, B at the first.
    """

    nonlinearity: str
    batch_sizes: Tensor | None = None


class Needed(NamedTuple):
    """Which of the :class:`Inputs` need a gradient."""

    x: bool = False
    h0: bool = False
    w_hh: bool = False
    w_ih: bool = False
    bias: bool = False
    modrelu_bias: bool = False


class Gradients(NamedTuple):
    """The gradients of the :class:`Inputs`, None where not needed."""

    x: Tensor | None = None
    h0: Tensor | None = None
    w_hh: Tensor | None = None
    w_ih: Tensor | None = None
    bias: Tensor | None = None
    modrelu_bias: Tensor | None = None

    @classmethod
    def zeros(cls, inputs: Inputs, needed: Needed) -> Gradients:
        """Zeros for the inputs that need a gradient."""
        pairs = zip(inputs, needed, strict=True)
        return cls(
            *(a.new_zeros(a.shape) if a is not None and asked else None for a, asked in pairs)
        )
