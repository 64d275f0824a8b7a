"""SwitchedOrthoRNN: one orthogonal matrix a token, or a product of reflections."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthornn._torch_internals import dispatch_mode_active, is_fake, is_traced_or_transformed
from orthornn._validation import check_choice, check_ranges, check_type
from orthornn.init import INITIALIZERS, check_determinant
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.recurrence.switched.reference import product_of_reflections

from .precision import at_least_float32, cast
from .recurrent_weight import OrthogonalWeights
from .transitions import Map, Read, TransitionRNN


class SwitchedOrthoRNN(OrthogonalWeights, TransitionRNN):
    """A recurrent network whose input chooses an orthogonal matrix for every step.

    ``h_t = W(x_t) h_{t-1}``: the state is carried exactly, and so is its gradient, whatever the
    sequence of tokens. It can learn the multiplication of a group: W(a) W(b) = W(ab) is a
    representation of it. A network that adds its input to the state cannot; see
    :mod:`orthornn.nn.transitions`.

    A matrix forgets nothing, so resets need ``resets=True``. A learned matrix is not exactly the
    one that is wanted, so the horizon is finite; :func:`orthornn.reduce` moves it far out.

    With all options, ``h_t = g (W(x_t) h_{t-1} + V(x_t)) + (1 - g) r(x_t)`` with g = g(x_t).

    Args:
        num_embeddings: V, the number of different tokens.
        hidden_size: H, features of the state. About twice the least dimension of a faithful
            representation learns well, the least itself mostly does not.
        batch_first: whether input and output are (B, T, ·) instead of (T, B, ·).
        device, dtype: of the parameters.
        additive: whether a learned vector of each token, V(x), is added. It starts from 0.
        resets: whether each token has a gate g, exactly 0 or 1, and a state r(x) where it is shut.
            All gates start open (:mod:`orthornn.nn.exact_gate`).
        reflections: k, for W(x) a product of k Householder reflections ``I - 2vvᵀ``: k H numbers a
            token instead of H². The determinant is (-1)^k while no vector is 0. They are normalized
            where used, and every optimizer may train them. None for a matrix a token.
        init: start of the matrices, as for :class:`orthornn.OrthoRNN`.
        determinant: 1 or -1 for that of every matrix; None leaves it to chance. No step of an
            optimizer changes it.
        retraction: of the manifold, as for :class:`orthornn.OrthoRNN`.
        backend: None picks the fastest that fits, which :meth:`backend_for` names. ``"c"`` is
            compiled for this processor, ``"scan"`` runs chunks of time in parallel, ``"eager"``
            torch's operations with the adjoint by hand, ``"custom_op"`` the fastest of them as one
            operator, ``"autograd"`` the plain loop.

    Attributes:
        weight_hh: the matrices, (V, H, H), a ``geoopt.ManifoldParameter``; without reflections.
        vectors: the embedding of k H numbers a token; with reflections.
        initial_state: h_0, (H,), learned, from a uniform direction.
        shift, gate, reset: the embeddings of V(x), of what opens the gate above 0, and of r(x),
            where asked for.

    Shape:
        input ``(T, B)``, ``(B, T)`` if batch_first, ``(T,)``, or a ``PackedSequence`` of tokens,
        int64 or int32; hx ``(1, B, H)`` or ``(1, H)``, ``initial_state`` if None;
        output ``(T, B, H)``, ``(B, T, H)``, ``(T, H)`` or packed; h_n like hx.

    Raises:
        ValueError: for an option out of its range, naming the choices; for an input with another
            number of axes.
        TypeError: for an argument of another type, and tokens that are no integers.
        IndexError: for a token out of range, on a CPU.
        RuntimeError: for hx of another shape or dtype, or an input without steps.
        torch.fx.proxy.TraceError: where ``torch.fx`` traces the module itself, not one around it.

    References:
        Foerster et al., "Input Switched Affine Networks", ICML 2017. Merrill, Petty & Sabharwal,
        "The Illusion of State in State-Space Models", ICML 2024. Siems et al., "DeltaProduct",
        NeurIPS 2025, for products of reflections.

    Example:
        >>> rnn = SwitchedOrthoRNN(120, 8)  # a matrix for each permutation of five things
        >>> output, h_n = rnn(torch.randint(120, (1000, 16)))
    """

    feature_axes = 0

    def __init__(
        self,
        num_embeddings: int,
        hidden_size: int,
        batch_first: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        additive: bool = False,
        resets: bool = False,
        reflections: int | None = None,
        init: str = "haar",
        determinant: int | None = None,
        retraction: str = "polar",
        backend: str | None = None,
    ) -> None:
        check_type(int, num_embeddings=num_embeddings, hidden_size=hidden_size)
        check_ranges(num_embeddings=num_embeddings, hidden_size=hidden_size)
        check_choice("init", init, INITIALIZERS)
        check_choice("retraction", retraction, RETRACTIONS)
        check_determinant(determinant)
        if reflections is not None and (determinant, init, retraction) != (None, "haar", "polar"):
            raise ValueError(
                f"determinant, init and retraction are options of matrices, and there are none "
                f"with reflections={reflections}: leave them out"
            )
        # before the weights are registered
        self.init, self.determinant, self.retraction = init, determinant, retraction
        self.weight_axes = (num_embeddings,)
        factory = {"device": device, "dtype": dtype}

        def embed(features: int) -> nn.Embedding:
            return nn.Embedding(num_embeddings, features, **factory)  # type: ignore[arg-type]

        super().__init__(
            embed, hidden_size, batch_first, additive, resets, reflections, backend, factory
        )
        self.num_embeddings = num_embeddings
        if reflections is None:
            shape = (num_embeddings, hidden_size, hidden_size)
            self.weight_hh = nn.Parameter(torch.empty(shape, **factory))  # type: ignore[arg-type]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter anew: matrices by ``init``, V from 0, all gates open."""
        super().reset_parameters()
        if self.reflections is None:
            INITIALIZERS[self.init](self.weight_hh, determinant=self.determinant)

    @torch.no_grad()
    def matrices(self) -> Tensor:
        """M(x) of every token, (V, H, H), detached: the matrices, or the products of reflections.

        See :mod:`orthornn.diagnostics` for what they tell.
        """
        if self.reflections is None:
            return self.weight_hh.detach().as_subclass(Tensor)
        dtype = at_least_float32(self.initial_state.dtype)
        return product_of_reflections(self._unit_vectors(_reader_of_tables(dtype)))

    def extra_repr(self) -> str:
        options = {
            name: getattr(self, name)
            for name in ("additive", "resets", "reflections", "determinant", "batch_first")
            if getattr(self, name)
        }
        if self.reflections is None:
            options |= {"init": self.init, "retraction": self.retraction}
        if self.backend is not None:
            options["backend"] = self.backend
        shown = (f"{name}={value}" for name, value in options.items())
        return ", ".join((f"{self.num_embeddings}, {self.hidden_size}", *shown))

    def _check_input(self, rows: Tensor) -> None:
        if rows.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"expected tokens of torch.int64 or torch.int32, got {rows.dtype}")
        if rows.device != self.initial_state.device:
            raise RuntimeError(
                f"Input and parameter tensors are not at the same device, found input tensor at "
                f"{rows.device} and parameter tensor at {self.initial_state.device}"
            )
        if not rows.is_cpu or not rows.numel() or torch.compiler.is_compiling() or is_fake(rows):
            return
        if is_traced_or_transformed() or dispatch_mode_active():
            return
        least, most = (int(a) for a in rows.aminmax())
        if least < 0 or most >= self.num_embeddings:
            wrong = least if least < 0 else most
            raise IndexError(f"expected tokens from 0 to {self.num_embeddings - 1}, got {wrong}")

    def _example(self, rows: Tensor) -> Tensor:
        return self.initial_state

    def _reader(self, rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Read]:
        return rows.long(), _reader_of_tables(dtype)

    def _weight(self, read: Read) -> Tensor:
        return self._read_weight("weight_hh") if self.vectors is None else self._unit_vectors(read)


def _reader_of_tables(dtype: torch.dtype) -> Read:
    """What gives the whole table of an embedding."""

    def read(map: Map) -> Tensor:
        return cast(map.weight, dtype)

    return read
