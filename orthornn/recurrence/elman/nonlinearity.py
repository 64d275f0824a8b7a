"""The nonlinearities of the recurrence, each with its derivative in terms of its output.

None stretches a gradient: every slope is at most 1. Only where it is 1 does an orthogonal W keep
the gradient: always for the identity, in the units that are on for modReLU and ReLU. tanh has the
slope 1 at 0 alone, so the gradient shrinks at every step, however orthogonal W is
(``python -m benchmarks.gradients`` measures it).

modReLU with a bias b > 0 jumps: from -b to b where z changes its sign. Only with b <= 0 is it
1-Lipschitz, as all the others are.

At a kink the derivative is that of torch: for modReLU 0 at its threshold and at 0, for ReLU 0 at 0,
for leaky ReLU the small slope at 0. NaN comes out as NaN.

modReLU is the real form of the one in Arjovsky, Shah & Bengio, "Unitary Evolution Recurrent
Neural Networks", ICML 2016.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from orthornn._torch_internals import dispatch_mode_active

LEAKY_SLOPE = 0.01
MODRELU_BIAS = re.compile(r"modrelu_bias(_l\d+(_reverse)?)?")  # the names of its parameters


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

    Where ``|z| + b <= 0`` and at ``z = 0`` both the value and the derivatives are 0; elsewhere the
    derivative is 1 in z and sign(z) in b. The sign is one comparison: ``z / √(zz)`` would have the
    derivative NaN at 0, and where zz vanishes or overflows.
    """
    return z.sign() * torch.relu(z.abs() + b)


def modrelu_(z: Tensor, b: Tensor) -> Tensor:
    """:func:`modrelu` written into ``z``, outside autograd."""
    s = z.sign()
    return z.abs_().add_(b).relu_().mul_(s)


def identity(z: Tensor) -> Tensor:
    """``z`` itself: the linear recurrence."""
    return z


def _masked_(kernel: Any, g: Tensor, *arguments: Any) -> Tensor:
    """What autograd's own ``kernel`` makes of ``g``, written into it by one pass over memory."""
    if (
        dispatch_mode_active()
    ):  # such as allow_mutation_on_saved_tensors, which knows no name but `out`
        return g.copy_(kernel.default(g, *arguments))
    return kernel.grad_input(g, *arguments, grad_input=g)  # type: ignore[no-any-return]


def _threshold_(g: Tensor, h: Tensor) -> Tensor:
    """``g`` where h > 0, else 0, also where g is not finite."""
    return _masked_(torch.ops.aten.threshold_backward, g, h, 0)


NONLINEARITIES: dict[str, Nonlinearity] = {
    "modrelu": Nonlinearity(modrelu, modrelu_, lambda g, h: _threshold_(g, h.abs()), has_bias=True),
    "tanh": Nonlinearity(torch.tanh, torch.tanh_, partial(_masked_, torch.ops.aten.tanh_backward)),
    "relu": Nonlinearity(torch.relu, torch.relu_, _threshold_),
    "leaky_relu": Nonlinearity(
        partial(functional.leaky_relu, negative_slope=LEAKY_SLOPE),
        partial(functional.leaky_relu_, negative_slope=LEAKY_SLOPE),
        lambda g, h: _masked_(torch.ops.aten.leaky_relu_backward, g, h, LEAKY_SLOPE, True),
    ),
    "identity": Nonlinearity(identity, identity, lambda g, h: g),
}
