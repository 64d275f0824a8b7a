"""A warning where a recurrent weight has left its manifold, most likely by the wrong optimizer."""

from __future__ import annotations

import warnings

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from orthornn._torch_internals import dispatch_mode_active, is_fake, is_traced_or_transformed
from orthornn.manifolds import checks

TOLERANCE = 1e-3  # of ‖WᵀW - I‖ / √H: far above rounding, and below a few steps of torch.optim
CHECKED_WEIGHTS = "_checked_weights"  # in a module's dict: version and uses of each weight
WARNED = -1  # instead of the number of uses


class OffManifoldWarning(UserWarning):
    """A recurrent weight is used that is not orthogonal."""


def warn_off_manifold(module: nn.Module, name: str, weight: Tensor) -> None:
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
    checked = module.__dict__.setdefault(CHECKED_WEIGHTS, {})
    version, uses = checked.get(name, (None, 0))
    # a fused optimizer changes a weight and not its version
    trained = weight.requires_grad and torch.is_grad_enabled()
    if uses == WARNED or (version == weight._version and not trained):
        return
    uses += 1
    if uses & (uses - 1):  # not a power of 2
        checked[name] = (weight._version, uses)
    elif _can_be_read(weight):
        ok, reason = checks.check_point(weight.detach(), TOLERANCE, None)
        checked[name] = (weight._version, uses if ok else WARNED)
        if not ok:
            warnings.warn(_message(module, name, reason), OffManifoldWarning, stacklevel=2)


def _can_be_read(weight: Tensor) -> bool:
    """Whether its numbers are there, and nobody records what is done with them."""
    capturing = weight.is_cuda and torch.cuda.is_current_stream_capturing()
    return not (weight.is_meta or capturing or is_traced_or_transformed() or dispatch_mode_active())


def _message(module: nn.Module, name: str, reason: str | None) -> str:
    names = ("input_size", "num_embeddings", "hidden_size")
    sizes = ", ".join(str(getattr(module, size)) for size in names if hasattr(module, size))
    return (
        f"{name} of {type(module).__name__}({sizes}) is no longer orthogonal: {reason}. What "
        f"writes into it has to know its manifold, as the optimizers of orthornn do and those of "
        f"torch.optim do not: RiemannianAdam(param_groups(model, lr=1e-3)). "
        f"orthornn.project_(module) takes the nearest orthogonal matrix; where this is meant, "
        f"ignore orthornn.OffManifoldWarning"
    )
