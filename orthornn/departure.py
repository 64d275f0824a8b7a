"""A warning where a recurrent weight has left its manifold, most likely by the wrong optimizer."""

from __future__ import annotations

import warnings

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from . import membership
from .internals import is_fake, looked_into, mode_active

TOLERANCE = 1e-3  # of ‖WᵀW - I‖ / √H: far above rounding, and below a few steps of torch.optim
FOUND = -1
SEEN = "_seen_weights"  # of a module: the version of each weight, and how often it has changed


def warn_of_departure(module: nn.Module, name: str, weight: Tensor) -> None:
    """Warn, once, that a recurrent weight of ``module`` is used and not orthogonal.

    It is looked at after its first change, the second, the fourth, and so on: over n steps of an
    optimizer that costs log₂ n products of H x H matrices. Nothing is looked at under a compiler, a
    tracer, a transform or a mode of torch's.
    """
    if torch.compiler.is_compiling() or not isinstance(weight, ManifoldParameter):
        return
    if weight.is_inference() or is_fake(weight):
        return
    seen = module.__dict__.setdefault(SEEN, {})
    version, count = seen.setdefault(name, (weight._version, 0))
    if count == FOUND or version == weight._version:
        return
    count += 1
    if count & (count - 1) == 0 and _can_be_read(weight):
        ok, reason = membership.point(weight.detach(), TOLERANCE, None)
        if not ok:
            count = FOUND
            warnings.warn(
                f"{name} is no longer orthogonal: {reason}. The optimizers of torch.optim do not "
                f"keep it so, those of orthornn do: RiemannianAdam(param_groups(model, lr=1e-3)). "
                f"orthornn.project_(module) takes the nearest orthogonal matrix.",
                stacklevel=2,
            )
    seen[name] = (weight._version, count)


def _can_be_read(weight: Tensor) -> bool:
    """Whether its numbers are there, and nobody records what is done with them."""
    capturing = weight.is_cuda and torch.cuda.is_current_stream_capturing()
    return not (weight.is_meta or capturing or looked_into() or mode_active())
