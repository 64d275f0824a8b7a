"""The parameter groups of a model: what moves freely, along a manifold, and with modReLU."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from torch import Tensor, nn

from orthornn.manifolds.checks import is_point
from orthornn.recurrence.elman.nonlinearity import MODRELU_BIAS


def param_groups(
    model: nn.Module,
    lr: float,
    lr_ortho: float | None = None,
    weight_decay: float | None = None,
    lr_modrelu: float | None = None,
) -> list[dict[str, Any]]:
    """Two parameter groups, plain and orthogonal, so that one optimizer serves the whole model.

    With ``lr_modrelu`` there are three: the biases of modReLU act at every step of a sequence, as
    the recurrent weight does, and ``lr_ortho`` suits them as well: to recall something over a long
    one ``lr`` is too large, and on text, where ``lr_ortho`` is larger too, either will do.

    Args:
        model: any module; points are the ``geoopt.ManifoldParameter`` in it. Parameters that do
            not require a gradient are left out.
        lr: step size of the plain parameters.
        lr_ortho: step size of the points; ``lr / 10`` if None, the ratio of expRNN.
        weight_decay: of the plain parameters, the optimizer's own if None; a point has norm √n
            and cannot decay, so its group gets 0.
        lr_modrelu: step size of the biases of modReLU, parameters of the names ``modrelu_bias``,
            ``modrelu_bias_l0``, ...; if None they are plain parameters like others.

    Returns:
        The groups that are not empty: plain parameters, biases of modReLU, points.

    Raises:
        TypeError: if ``model`` is not a module, or a step size no number.
        ValueError: for a step size that is negative or not finite.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"param_groups expects a torch.nn.Module, got {type(model).__name__}")
    for name, rate in (("lr", lr), ("lr_ortho", lr_ortho), ("lr_modrelu", lr_modrelu)):
        _check_learning_rate(name, rate)
    params = [p for p in model.parameters() if p.requires_grad]
    apart = _modrelu_biases(model) if lr_modrelu is not None else set()
    biases = [p for p in params if id(p) in apart]
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    plain = [p for p in params if not is_point(p) and id(p) not in apart]
    groups: list[dict[str, Any]] = [{"params": plain, "lr": lr, **decay}]
    if lr_modrelu is not None:
        groups.append({"params": biases, "lr": lr_modrelu, **decay})
    points = {
        "params": [p for p in params if is_point(p)],
        "lr": lr / 10 if lr_ortho is None else lr_ortho,
        "weight_decay": 0.0,
        "fused": False,  # so that fused=True concerns the plain parameters only
    }
    return [group for group in (*groups, points) if group["params"]]


def _modrelu_biases(model: nn.Module) -> set[int]:
    """The ids of what has the name of a modReLU's bias somewhere in a module, and is no point."""
    named = model.named_parameters(remove_duplicate=False)
    return {
        id(p) for n, p in named if MODRELU_BIAS.fullmatch(n.rpartition(".")[2]) and not is_point(p)
    }


def _check_learning_rate(name: str, rate: object) -> None:
    if rate is None or isinstance(rate, Tensor):
        return
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(f"{name} must be a number or a tensor, got {rate!r}")
    if not 0 <= float(rate) < math.inf:
        raise ValueError(f"{name} must be a finite number >= 0, got {rate}")
