"""A gate that is exactly open or exactly shut, and learns all the same."""

from __future__ import annotations

from torch import Tensor

START = 0.4  # of the parameter: open, and a few steps of the optimizer from shutting


def exact_gate(p: Tensor) -> Tensor:
    """1 where p > 0, else 0, with the derivative of p: the straight-through estimator.

    The derivative of a loss by an open gate is its change, to first order, from shutting it; so p
    falls through 0 where shutting would help (Bengio, Léonard & Courville, "Estimating or
    Propagating Gradients Through Stochastic Neurons for Conditional Computation", 2013).
    """
    return (p > 0).to(p.dtype) + (p - p.detach())  # the bracket is exactly 0
