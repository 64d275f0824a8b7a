"""The tensors of the recurrence ``h_t = a(x_t) M(x_t) h_{t-1} + b(x_t)``, and its forms."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

MATRIX, REFLECTIONS = "matrix", "reflections"


class Inputs(NamedTuple):
    """The tensors of ``h_t = a(x_t) M(x_t) h_{t-1} + b(x_t)``, tables of V rows, of one dtype.

    Attributes:
        tokens: x, the row of the tables that each step takes, int64, (T, B), or packed (N,).
        h0: the state before the first step, (B, H).
        weight: W, (V, H, H), or the unit vectors v_1, ..., v_k of reflections, (V, k, H).
        gate: a, (V,), or None for 1.
        shift: b, (V, H), or None for 0.
    """

    tokens: Tensor
    h0: Tensor
    weight: Tensor
    gate: Tensor | None = None
    shift: Tensor | None = None

    @property
    def states_shape(self) -> tuple[int, ...]:
        """That of the states."""
        return *self.tokens.shape, self.h0.shape[-1]


class Kind(NamedTuple):
    """Which recurrence runs over the tensors.

    Attributes:
        transition: ``"matrix"`` for M(x) = W[x], or ``"reflections"`` for
            M(x) = H(v_k[x]) ... H(v_1[x]) with H(v) = I - 2vvᵀ.
        batch_sizes: None, or for packed rows, as in ``torch.nn.utils.rnn.PackedSequence``, the
            falling numbers of sequences at each step: (T,), N in all, B at the first.
    """

    transition: str = MATRIX
    batch_sizes: Tensor | None = None


class Needed(NamedTuple):
    """Which of the :class:`Inputs` need a gradient."""

    tokens: bool = False
    h0: bool = False
    weight: bool = False
    gate: bool = False
    shift: bool = False


class Gradients(NamedTuple):
    """The gradients of the :class:`Inputs`, None where not needed."""

    tokens: None = None
    h0: Tensor | None = None
    weight: Tensor | None = None
    gate: Tensor | None = None
    shift: Tensor | None = None
