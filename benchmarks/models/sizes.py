"""Which weights of a model are recurrent, and how many numbers a model has."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthornn import OrthoRNN, SwitchedOrthoRNN, linalg
from orthornn.nn import ElmanRNN

from .elman import recurrent_names
from .switched import SwitchedRNN

# the cores that have a weight to be orthogonal
RecurrentCore = ElmanRNN | SwitchedOrthoRNN | SwitchedRNN


def orthogonal_weights(model: nn.Module) -> dict[str, Tensor]:
    """The recurrent weights as they act, of methods that keep or start them orthogonal.

    Detached, by their names in ``model``, such as ``core.weight_hh_l0``; of a parametrized weight
    it is the product. Empty for ``torch.nn.RNN``, ``LSTM`` and ``GRU``.
    """
    with torch.no_grad():
        return {
            f"{prefix}{name}": getattr(core, name).detach()
            for prefix, core, name in _recurrent_weights(model)
        }


def orthogonality_error(model: nn.Module) -> float | None:
    """The largest ``‖WᵀW - I‖`` (Frobenius) over :func:`orthogonal_weights`; None without any."""
    weights = orthogonal_weights(model).values()
    errors = [linalg.orthogonality_error(w).max().item() for w in weights]
    return max(errors, default=None)


def orthogonal_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What moves the recurrent weights of :func:`orthogonal_weights`: with the smaller step size.

    The weights themselves or, of a parametrized weight, the parameters behind it.
    """
    return [
        p for _, core, name in _recurrent_weights(model) for p in _parameters_behind(core, name)
    ]


def count_parameters(model: nn.Module) -> int:
    """Numbers that the model trains; an orthogonal H x H weight counts H² however it is kept.

    So a budget gives every method the same width. A parameter that serves twice counts once.
    """
    kept = sum(p.numel() for p in model.parameters())
    behind = sum(p.numel() for p in orthogonal_parameters(model))
    return kept - behind + sum(_entries(core, name) for _, core, name in _recurrent_weights(model))


def degrees_of_freedom(model: nn.Module) -> int:
    """The same, but a weight kept orthogonal counts ``H(H-1)/2``, the dimension of its manifold.

    The papers on orthogonal networks compare models by this count; it allows these a larger H. A
    weight that only starts orthogonal, or is drawn to it by a penalty, counts H².
    """
    surplus = sum(
        _entries(core, name) * (size + 1) // (2 * size)
        for _, core, name in _recurrent_weights(model)
        if isinstance(core, OrthoRNN | SwitchedOrthoRNN) or parametrize.is_parametrized(core, name)
        for size in [core.hidden_size]
    )
    return count_parameters(model) - surplus


def largest_hidden_size(build: Callable[[int], nn.Module], budget: int) -> int:
    """The largest hidden size whose model has at most ``budget`` parameters.

    Args:
        build: a model of a given hidden size; it is called about 20 times on torch's meta
            device, where nothing is allocated.
        budget: at least the parameters of hidden size 1.

    Raises:
        ValueError: if even hidden size 1 does not fit.
    """

    def fits(size: int) -> bool:
        with torch.device("meta"):
            return count_parameters(build(size)) <= budget

    if not fits(1):
        raise ValueError(
            f"parameter_budget={budget} is too small for one hidden unit of this model"
        )
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _recurrent_weights(model: nn.Module) -> Iterator[tuple[str, RecurrentCore, str]]:
    """Every recurrent weight as (prefix of its core, core, name in the core)."""
    for prefix, core in model.named_modules():
        if not isinstance(core, RecurrentCore):
            continue
        names = recurrent_names(core) if isinstance(core, ElmanRNN) else ["weight_hh"]
        for name in names if getattr(core, "reflections", None) is None else []:
            yield f"{prefix}." if prefix else "", core, name


def _entries(core: RecurrentCore, name: str) -> int:
    """Entries of a recurrent weight as it acts, one matrix or one for each token."""
    if parametrize.is_parametrized(core, name):  # which is not made for its size
        return core.hidden_size**2
    return core.get_parameter(name).numel()


def _parameters_behind(core: nn.Module, name: str) -> list[nn.Parameter]:
    """The parameters that make the weight ``name``."""
    if not parametrize.is_parametrized(core, name):
        return [core.get_parameter(name)]
    made_of = core.get_submodule(f"parametrizations.{name}")
    return list(made_of.parameters())
