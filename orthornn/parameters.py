"""The parameters of one recurrence: their names, order and start, and the checks of options."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from typing import Any

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from .init import INITIALIZERS
from .manifold import Stiefel
from .nonlinearity import NONLINEARITIES

LOAD_TOLERANCE = 1e-4  # an optimizer mends what is below in its next step


def register(
    module: nn.Module,
    suffix: str,
    input_size: int,
    hidden_size: int,
    nonlinearity: str,
    bias: bool,
    manifold: Stiefel,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> None:
    """Give ``module`` the uninitialised parameters of one recurrence, in torch.nn.RNN's order."""
    if not module._load_state_dict_pre_hooks:
        module.register_load_state_dict_pre_hook(check_loaded)  # type: ignore[no-untyped-call]

    def empty(*shape: int) -> Tensor:
        return torch.empty(*shape, device=device, dtype=dtype)

    w_hh = ManifoldParameter(empty(hidden_size, hidden_size), manifold=manifold)
    module.register_parameter(f"weight_ih{suffix}", nn.Parameter(empty(hidden_size, input_size)))
    module.register_parameter(f"weight_hh{suffix}", w_hh)
    for name in (f"bias_ih{suffix}", f"bias_hh{suffix}"):
        module.register_parameter(name, nn.Parameter(empty(hidden_size)) if bias else None)
    if NONLINEARITIES[nonlinearity].has_bias:
        module.register_parameter(f"modrelu_bias{suffix}", nn.Parameter(empty(hidden_size)))


@torch.no_grad()
def reset(module: nn.Module, init: str) -> None:
    """Draw every parameter anew: W by ``init``, V Kaiming normal, biases 0, modReLU's near 0."""
    for name, p in module.named_parameters():
        if name.startswith("weight_hh"):
            INITIALIZERS[init](p)
        elif name.startswith("weight_ih"):
            p.normal_(0, math.sqrt(2 / p.shape[1]))
        elif name.startswith("modrelu_bias"):
            p.uniform_(-0.01, 0.01)
        else:
            p.zero_()


def check_loaded(
    module: nn.Module,
    state_dict: dict[str, Tensor],
    prefix: str,
    local_metadata: dict[str, Any],
    *_: Any,
) -> None:
    """A hook of ``load_state_dict`` that refuses, before it is copied, a W off the manifold."""
    for name, p in module.named_parameters(recurse=False):
        w = state_dict.get(prefix + name)
        if not isinstance(p, ManifoldParameter) or w is None or w.shape != p.shape or w.is_meta:
            continue
        if local_metadata.get("assign_to_params_buffers") and not isinstance(w, ManifoldParameter):
            raise RuntimeError(
                f"assign=True would replace the manifold parameter {name} by a plain tensor"
            )
        ok, reason = p.manifold.check_point_on_manifold(w, explain=True, atol=LOAD_TOLERANCE)
        if not ok:
            raise RuntimeError(
                f"{name} is not orthogonal: {reason}; project it first with "
                f"orthornn.Stiefel().projx(state_dict[{prefix + name!r}])"
            )


def total_bias(module: nn.Module, suffix: str) -> Tensor | None:
    """``b_ih + b_hh``, or None for a module without biases."""
    b_ih: Tensor | None = getattr(module, f"bias_ih{suffix}")
    return None if b_ih is None else b_ih + getattr(module, f"bias_hh{suffix}")


def check_sizes(**sizes: Any) -> None:
    """Refuse a size that is not a positive integer, with torch.nn.RNN's exceptions."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero, got {size}")


def check_choice(name: str, value: object, table: Collection[str]) -> None:
    """Refuse a name that is not in the table, listing those that are."""
    if not isinstance(value, str) or value not in table:
        raise ValueError(f"{name} must be one of {sorted(table)}, got {value!r}")


def check_dropout(dropout: float, num_layers: int) -> None:
    """Refuse what is no probability; warn where it has no effect, as torch.nn.RNN does."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(
            f"dropout should be a number in range [0, 1] representing the probability of an "
            f"element being zeroed, got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and num_layers=1",
            stacklevel=3,
        )
