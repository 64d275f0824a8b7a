"""The parameters of a recurrence: their names, and how they start."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from orthornn.init import INITIALIZERS
from orthornn.recurrence.elman.nonlinearity import MODRELU_BIAS

RECURRENT_WEIGHT = re.compile(r"weight_hh(_l\d+(_reverse)?)?")
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
        elif name.startswith("bias_") or MODRELU_BIAS.fullmatch(name):
            p.uniform_(-BIAS_BOUND, BIAS_BOUND)


def add_modrelu_bias(module: nn.Module, suffix: str, like: Tensor) -> None:
    """Give ``module`` the bias of a modReLU, one entry for each row of ``like``."""
    bias = like.detach().new_empty(len(like)).uniform_(-BIAS_BOUND, BIAS_BOUND)
    module.register_parameter(f"modrelu_bias{suffix}", nn.Parameter(bias))


def total_bias(module: nn.Module, suffix: str) -> Tensor | None:
    """``b_ih + b_hh``, or None for a module without biases."""
    b_ih: Tensor | None = getattr(module, f"bias_ih{suffix}", None)
    return None if b_ih is None else b_ih + getattr(module, f"bias_hh{suffix}")
