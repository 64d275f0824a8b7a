"""The nonlinearities of the recurrence, each with its derivative in terms of its output.

modReLU is the real form of the one in Arjovsky, Shah & Bengio, "Unitary Evolution Recurrent
Neural Networks", ICML 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LEAKY_SLOPE = 0.01


class Nonlinearity(NamedTuple):
    """``h = s(z)``, elementwise; modReLU takes its learned bias as a second argument.

    Attributes:
        apply: differentiable ``z -> h`` (or ``(z, b) -> h``).
        apply_: the same value written into ``z``, outside autograd.
        mask_: ``(g, h) -> g * ds/dz`` written into ``g``, with ds/dz from the output h alone.
        has_bias: whether s takes b; its gradient is the sum of ``g * ds/dz * sign(h)``.
    """

    apply: Callable[..., Tensor]
    apply_: Callable[..., Tensor]
    mask_: Callable[[Tensor, Tensor], Tensor]
    has_bias: bool = False


def modrelu(z: Tensor, b: Tensor) -> Tensor:
    """``sign(z) relu(|z| + b)``, b of shape ``(H,)`` broadcast over ``(..., H)``.

    Where ``|z| + b <= 0`` and at ``z = 0`` both the value and the derivative are 0; elsewhere the
    derivative is 1 in z and sign(z) in b.
    """
    return z.sign() * torch.relu(z.abs() + b)


def modrelu_(z: Tensor, b: Tensor) -> Tensor:
    """:func:`modrelu` written into ``z``, outside autograd."""
    s = z.sign()
    return z.abs_().add_(b).relu_().mul_(s)


def identity(z: Tensor) -> Tensor:
    """``z`` itself: the linear recurrence."""
    return z


def _threshold_(g: Tensor, h: Tensor) -> Tensor:
    """``g`` where h > 0, else 0 (also where g is not finite), as autograd has it for ReLU."""
    return torch.ops.aten.threshold_backward.grad_input(g, h, 0, grad_input=g)  # type: ignore[no-any-return]


def _tanh_(g: Tensor, h: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward.grad_input(g, h, grad_input=g)  # type: ignore[no-any-return]


def _leaky_relu_(g: Tensor, h: Tensor) -> Tensor:
    backward = torch.ops.aten.leaky_relu_backward.grad_input
    return backward(g, h, LEAKY_SLOPE, True, grad_input=g)  # type: ignore[no-any-return]


NONLINEARITIES: dict[str, Nonlinearity] = {
    "modrelu": Nonlinearity(modrelu, modrelu_, lambda g, h: _threshold_(g, h.abs()), has_bias=True),
    "tanh": Nonlinearity(torch.tanh, torch.tanh_, _tanh_),
    "relu": Nonlinearity(torch.relu, torch.relu_, _threshold_),
    "leaky_relu": Nonlinearity(
        partial(functional.leaky_relu, negative_slope=LEAKY_SLOPE),
        partial(functional.leaky_relu_, negative_slope=LEAKY_SLOPE),
        _leaky_relu_,
    ),
    "identity": Nonlinearity(identity, identity, lambda g, h: g),
}
