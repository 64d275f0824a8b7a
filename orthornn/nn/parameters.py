"""The parameters of a recurrence: how they start, and the checks of options."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from orthornn.init import INITIALIZERS
from orthornn.recurrence.nonlinearity import MODRELU_BIAS

RECURRENT = re.compile(r"weight_hh(_l\d+(_reverse)?)?")
SMALL = 0.01  # bound of the biases: at exactly 0 a unit of ReLU or modReLU would sit on its kink


@torch.no_grad()
def start(name: str, p: Tensor, init: str) -> None:
    """Draw a parameter: W by ``init``, V Kaiming normal, biases uniform; others stay as they are.

    Args:
        name: in the module, such as ``weight_hh_l0``.
        p: filled in place.
        init: a key of :data:`orthornn.init.INITIALIZERS`.
    """
    if RECURRENT.fullmatch(name):
        INITIALIZERS[init](p)
    elif name.startswith("weight_ih"):
        p.normal_(0, math.sqrt(2 / max(1, p.shape[1])))
    elif name.startswith("bias_") or MODRELU_BIAS.fullmatch(name):
        p.uniform_(-SMALL, SMALL)


def add_threshold(module: nn.Module, suffix: str, like: Tensor) -> None:
    """Give ``module`` the bias of a modReLU, one entry for each row of ``like``."""
    threshold = like.detach().new_empty(len(like)).uniform_(-SMALL, SMALL)
    module.register_parameter(f"modrelu_bias{suffix}", nn.Parameter(threshold))


def total_bias(module: nn.Module, suffix: str) -> Tensor | None:
    """``b_ih + b_hh``, or None for a module without biases."""
    b_ih: Tensor | None = getattr(module, f"bias_ih{suffix}", None)
    return None if b_ih is None else b_ih + getattr(module, f"bias_hh{suffix}")
