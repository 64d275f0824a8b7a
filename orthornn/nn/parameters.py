"""The parameters of a recurrence: their names, and how they start."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from orthornn._validation import short_repr
from orthornn.init import INITIALIZERS
from orthornn.recurrence.elman.nonlinearity import MODRELU_BIAS

RECURRENT_WEIGHT = re.compile(r"weight_hh(_l\d+(_reverse)?)?")
LEARNED_GAIN = re.compile(r"gain_hh(_l\d+(_reverse)?)?")
BIAS_BOUND = (
    0.01  # bound of the biases: at exactly 0 a unit of ReLU or modReLU would sit on its kink
)


@torch.no_grad()
def init_parameters(module: nn.Module, init: str) -> None:
    """Draw a module's own parameters in order: W by ``init``, V Kaiming normal, biases uniform.

    Args:
        module: parameters of other names stay as they are, and those of its children.
        init: a key of :data:`orthornn.init.INITIALIZERS`.
    """
    for name, p in module.named_parameters(recurse=False):
        if RECURRENT_WEIGHT.fullmatch(name):
            INITIALIZERS[init](p)
        elif name.startswith("weight_ih"):
            p.normal_(0, math.sqrt(2 / max(1, p.shape[1])))
        elif LEARNED_GAIN.fullmatch(name):
            p.fill_(getattr(module, "gain", 1.0))
        elif name.startswith("bias_") or MODRELU_BIAS.fullmatch(name):
            p.uniform_(-BIAS_BOUND, BIAS_BOUND)


def add_modrelu_bias(module: nn.Module, suffix: str, like: Tensor) -> None:
    """Give ``module`` the bias of a modReLU, one entry for each row of ``like``."""
    bias = like.detach().new_empty(len(like)).uniform_(-BIAS_BOUND, BIAS_BOUND)
    module.register_parameter(f"modrelu_bias{suffix}", nn.Parameter(bias))


def check_gain(gain: object, learn_gain: object) -> None:
    """Refuse what is no finite gain above 0, or no bool.

    Raises:
        TypeError: for another type.
        ValueError: for a gain out of range.
    """
    if isinstance(gain, bool) or not isinstance(gain, (int, float)):
        raise TypeError(f"gain must be a number, got {short_repr(gain)}")
    if not 0 < gain < math.inf:
        raise ValueError(f"gain must be a finite number > 0, got {gain}")
    if not isinstance(learn_gain, bool):
        raise TypeError(f"learn_gain must be True or False, got {short_repr(learn_gain)}")


def add_gain(module: nn.Module, suffix: str, gain: float, like: Tensor) -> None:
    """Give ``module`` the learned gain of a recurrent weight, a scalar."""
    value = torch.full((), gain, dtype=like.dtype, device=like.device)
    module.register_parameter(f"gain_hh{suffix}", nn.Parameter(value))


def total_bias(module: nn.Module, suffix: str) -> Tensor | None:
    """``b_ih + b_hh``, or None for a module without biases."""
    b_ih: Tensor | None = getattr(module, f"bias_ih{suffix}", None)
    return None if b_ih is None else b_ih + getattr(module, f"bias_hh{suffix}")
