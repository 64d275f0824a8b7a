"""A warning where a recurrent weight has left its manifold, most likely by the wrong optimizer."""

from __future__ import annotations

import warnings

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from orthornn._torch_internals import dispatch_mode_active, is_fake, is_traced_or_transformed
from orthornn.manifolds import checks

from .recurrent_weight import SEEN

TOLERANCE = 1e-3  # of ‖WᵀW - I‖ / √H: far above rounding, and below a few steps of torch.optim
FOUND = -1


class DepartureWarning(UserWarning):
    """A recurrent weight is used that is not orthogonal."""


def warn_of_departure(module: nn.Module, name: str, weight: Tensor) -> None:
    """Warn, once, that the weight ``name`` of ``module`` is used and not orthogonal.

    It is looked at when it is used for the first time, the second, the fourth, and so on; uses
    without a gradient count where it has changed in between. Over n steps of an optimizer that
    costs log₂ n products of H x H matrices. Nothing is looked at under ``torch.compile``, a tracer,
    a transform or a dispatch mode.
    """
    if torch.compiler.is_compiling() or not isinstance(weight, ManifoldParameter):
        return
    if weight.is_inference() or is_fake(weight):
        return
    seen = module.__dict__.setdefault(SEEN, {})
    version, count = seen.get(name, (None, 0))
    # a fused optimizer changes a weight and not its version
    trained = weight.requires_grad and torch.is_grad_enabled()
    if count == FOUND or (version == weight._version and not trained):
        return
    count += 1
    if count & (count - 1):
        seen[name] = (weight._version, count)
    elif _can_be_read(weight):
        ok, reason = checks.point(weight.detach(), TOLERANCE, None)
        seen[name] = (weight._version, count if ok else FOUND)
        if not ok:
            warnings.warn(_message(module, name, reason), DepartureWarning, stacklevel=2)


def _can_be_read(weight: Tensor) -> bool:
    """Whether its numbers are there, and nobody records what is done with them."""
    capturing = weight.is_cuda and torch.cuda.is_current_stream_capturing()
    return not (weight.is_meta or capturing or is_traced_or_transformed() or dispatch_mode_active())


def _message(module: nn.Module, name: str, reason: str | None) -> str:
    sizes = f"{module.input_size}, {module.hidden_size}"
    return (
        f"{name} of {type(module).__name__}({sizes}) is no longer orthogonal: {reason}. What "
        f"writes into it has to know its manifold, as the optimizers of orthornn do and those of "
        f"torch.optim do not: RiemannianAdam(param_groups(model, lr=1e-3)). "
        f"orthornn.project_(module) takes the nearest orthogonal matrix; where this is meant, "
        f"ignore orthornn.DepartureWarning"
    )
