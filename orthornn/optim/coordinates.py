"""In which coordinates the gradient and the moments of a point live.

References:
    Bécigneul & Ganea, "Riemannian Adaptive Optimization Methods", ICLR 2019.
    Lezcano-Casado & Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks", ICML 2019.
    Han, Poirion & Takeda, "Efficient Optimization with Orthogonality Constraint: a Randomized
    Riemannian Submanifold Method", ICML 2025.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from orthornn._validation import short_repr
from orthornn.linalg import skew
from orthornn.manifolds.metrics import METRICS
from orthornn.manifolds.stiefel import Stiefel

from .rules import Group, State, step_counter

# Note [Lie algebra]
# At a square point x of the orthogonal group every tangent vector is x a with a skew, and a is
# the same matrix at every point (the frame is left-invariant). Moments are kept as such a: they
# need no transport, and dividing a elementwise by the root of its own (symmetric) second moment
# leaves it skew. A tall point has no such frame: its moments are ambient tangent vectors, carried
# by the manifold's transport, and only a scalar may divide them.
#
# Note [Rows]
# The frame b x with b skew serves a square point as well. If b is zero outside the rows and
# columns of a set S of r rows, the step moves these rows alone, by a rotation among themselves:
# x_S is a wide point of its own, b_SS x_S a tangent vector at it, and every retraction keeps the
# rows within their span. Gradient, moments and retraction cost 8 r²n operations instead of 8 n³.

TANGENT_MOMENTS = ("momentum_buffer", "exp_avg")


class Coordinates(Protocol):
    """What an optimizer's step asks of the coordinates at one point."""

    elementwise: bool
    """Whether single coordinates may be scaled."""

    def gradient(self, x: Any, egrad: Tensor) -> Tensor:
        """The Riemannian gradient."""

    def moments(self, state: State) -> State:
        """The part of a point's state that this step updates, in these coordinates."""

    def step(self, x: Any, d: Tensor, c: float, moments: State, state: State) -> Tensor:
        """Retract x along ``c d``; transport the moments and store them in ``state``.

        Args:
            x: the point.
            d: the direction, in these coordinates.
            c: its factor; 0 leaves x where it is.
            moments: what :meth:`moments` gave, updated by the rule.
            state: all of the point's state, as the optimizer keeps it.

        Returns:
            The new point.
        """


class LieAlgebra:
    """Skew matrices a with ``u = x a``, for square points."""

    elementwise = True

    def gradient(self, x: Any, egrad: Tensor) -> Tensor:
        g: Tensor = x.manifold.gradient_in_lie_algebra(x, egrad)
        return g

    def moments(self, state: State) -> State:
        return state

    def step(self, x: Any, d: Tensor, c: float, moments: State, state: State) -> Tensor:
        y: Tensor = x.manifold.retract_skew(x, d, c) if c else x
        return y


class Ambient:
    """Tangent vectors as they are, for points of any manifold."""

    elementwise = False

    def gradient(self, x: Any, egrad: Tensor) -> Tensor:
        g: Tensor = x.manifold.egrad2rgrad(x, egrad)
        return g

    def moments(self, state: State) -> State:
        return state

    def step(self, x: Any, d: Tensor, c: float, moments: State, state: State) -> Tensor:
        y: Tensor = x
        if not c:
            return y
        keys = [key for key in TANGENT_MOMENTS if key in state]
        if not keys:
            y = x.manifold.retr(x, d * c)
        for key in keys:  # there is one: a rule with momentum has it under one of the names
            y, carried = x.manifold.retr_transp(x, d * c, state[key])
            state[key].copy_(carried)
        return y


class RowSubset:
    """Skew blocks b with ``u_S = b x_S``, for a set S of rows of a square point."""

    elementwise = True

    def __init__(self, rows: Tensor, n: int, steps_done: int) -> None:
        self.rows = rows
        self.n = n
        self.steps_done = steps_done

    def gradient(self, x: Any, egrad: Tensor) -> Tensor:
        scale = METRICS[x.manifold.metric].square_gradient
        b: Tensor = skew(egrad[..., self.rows, :] @ x[..., self.rows, :].mT)
        b *= scale
        return b

    def moments(self, state: State) -> State:
        return {key: self._block(value) for key, value in state.items()}

    def step(self, x: Any, d: Tensor, c: float, moments: State, state: State) -> Tensor:
        y: Tensor = x.detach().clone()
        if c:
            moving = y[..., self.rows, :]
            y[..., self.rows, :] = x.manifold.retr(moving, c * d @ moving)
        self._store(x, moments, state)
        return y

    def _store(self, x: Any, moments: State, state: State) -> None:
        for key, value in moments.items():
            if value.shape[-2:] != 2 * self.rows.shape:
                state[key] = value
                continue
            if key not in state:
                state[key] = torch.zeros_like(x, memory_format=torch.contiguous_format)
            state[key][..., self.rows[:, None], self.rows] = value
        if int(state.get("step", 0)) == self.steps_done:  # a rule that does not count
            state["step"] = step_counter(self.steps_done + 1.0)

    def _block(self, value: Tensor) -> Tensor:
        if value.shape[-2:] != (self.n, self.n):
            return value
        block: Tensor = value[..., self.rows[:, None], self.rows]
        return block


def has_lie_algebra(x: Any) -> bool:
    """Whether x is a square point of :class:`orthornn.Stiefel`, with its own retraction."""
    kind: Any = type(x.manifold)
    return (
        issubclass(kind, Stiefel)
        and x.shape[-2] == x.shape[-1]
        and kind.retr is Stiefel.retr
        and kind.egrad2rgrad is Stiefel.egrad2rgrad
    )


def choose_coordinates(x: Any, group: Group, state: State) -> Coordinates:
    """The coordinates of a point in a group; seed and step decide which rows."""
    if not has_lie_algebra(x):
        return Ambient()
    if group.get("rows") is None:
        return LieAlgebra()
    n, steps_done = x.shape[-1], int(state.get("step", 0))
    generator = torch.Generator().manual_seed(group["seed"] + steps_done)
    rows = torch.randperm(n, generator=generator)[: count_rows(group["rows"], n)]
    return RowSubset(rows.sort().values.to(x.device), n, steps_done)


def count_rows(rows: float, n: int) -> int:
    """How many of n rows a share (a float up to 1) or a number (an int) means; at least 2.

    Raises:
        ValueError: for a share outside (0, 1] or a number outside [2, n].
    """
    share = isinstance(rows, float) and 0 < rows <= 1
    number = isinstance(rows, int) and not isinstance(rows, bool) and 2 <= rows <= n
    if not (share or number):
        raise ValueError(
            f"rows must be a share in (0, 1] or a number from 2 to n = {n}, got {short_repr(rows)}"
        )
    return min(n, max(2, math.ceil(rows * n))) if share else int(rows)
