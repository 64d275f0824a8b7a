"""The cores whose recurrent weight is orthogonal, or starts so: one builder for each method.

All have the same recurrence, the same kernel and the same start; they differ in how W moves.
``sizes`` and ``options`` are the arguments of
:class:`benchmarks.models.elman.UnconstrainedRNN`, from input_size and hidden_size to backend.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import orthogonal

from orthornn import OrthoRNN
from orthornn.init import reflect_

from .checks import check_bool, check_number
from .elman import UnconstrainedRNN, fill_modrelu_bias_, recurrent_names, scale_input_
from .parametrizations import Cayley, Exponential, Trivialization
from .torch_cores import dropout_between_layers


def ortho(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    nonlinearity: str = "modrelu",
    bias: bool = False,
    init: str = "henaff",
    retraction: str = "polar",
    input_scale: float = 1.0,
    modrelu_bias: float | None = None,
    gain: float | None = None,
    learn_gain: bool | None = None,
    backend: str | None = None,
) -> OrthoRNN:
    """W is a point of the Stiefel manifold; without the pre-activation biases, as in expRNN.

    ``gain`` and ``learn_gain`` are 1 and False if None.
    """
    check_bool("bias", bias)
    core = OrthoRNN(
        input_size,
        hidden_size,
        num_layers,
        nonlinearity=nonlinearity,
        bias=bias,
        dropout=dropout_between_layers(dropout, num_layers),
        bidirectional=bidirectional,
        init=init,
        retraction=retraction,
        gain=1.0 if gain is None else gain,
        learn_gain=False if learn_gain is None else learn_gain,
        backend=backend,
    )
    scale_input_(core, input_scale)
    fill_modrelu_bias_(core, modrelu_bias)
    return core


def ortho_free(*sizes: Any, **options: Any) -> UnconstrainedRNN:
    """W starts orthogonal and is then as free as any weight."""
    return UnconstrainedRNN(*sizes, **options)


def ortho_soft(*sizes: Any, strength: float = 0.01, **options: Any) -> UnconstrainedRNN:
    """W starts orthogonal; a penalty ``λ Σ ‖WᵀW - I‖²`` holds it near (Vorontsov et al., 2017).

    ``strength`` is λ.

    Raises:
        ValueError: for a strength that is not finite or not above 0.
    """
    check_number("strength", strength, 0, above=True)
    core = UnconstrainedRNN(*sizes, **options)
    core.strength = strength
    return core


def exprnn(*sizes: Any, **options: Any) -> UnconstrainedRNN:
    """``W = exp(A)`` with A skew (Lezcano-Casado & Martínez-Rubio, 2019).

    The drawn W is turned into the component of determinant 1, the only one that exp reaches.
    """
    core = UnconstrainedRNN(*sizes, **options)
    for name in recurrent_names(core):
        reflect_(core.get_parameter(name), 1)
        parametrize.register_parametrization(core, name, Exponential(core.hidden_size), unsafe=True)
    return core


def dtriv(*sizes: Any, rebase_every: int = 100, **options: Any) -> UnconstrainedRNN:
    """``W = B exp(A)``; every K training passes B becomes W, and A 0 (Lezcano-Casado, 2019).

    ``rebase_every`` is K. Gradients of passes before and after a change of B are of different
    functions of A and should not be added up.

    Raises:
        ValueError: for a K that is no whole number above 0.
    """
    if isinstance(rebase_every, bool) or not isinstance(rebase_every, int) or rebase_every < 1:
        raise ValueError(f"rebase_every must be a whole number >= 1, got {rebase_every!r}")
    core = UnconstrainedRNN(*sizes, **options)
    for name in recurrent_names(core):
        trivialization = Trivialization(core.hidden_size, rebase_every)
        parametrize.register_parametrization(core, name, trivialization, unsafe=True)
    core.register_forward_pre_hook(_count_training_pass)
    return core


def scornn(*sizes: Any, negative: float = 0.5, **options: Any) -> UnconstrainedRNN:
    """``W = (I + A)⁻¹ (I - A) D`` with A skew and D a diagonal of signs (Helfrich et al., 2018).

    As there, what is drawn is W D; it is turned into the component of determinant 1. ``negative``
    is the share of D's entries that is -1, rounded to whole entries.

    Raises:
        ValueError: for a share outside [0, 1].
    """
    check_number("negative", negative, 0, 1)
    core = UnconstrainedRNN(*sizes, **options)
    for name in recurrent_names(core):
        cayley = Cayley(core.hidden_size, round(negative * core.hidden_size))
        with torch.no_grad():
            reflect_(core.get_parameter(name), 1).mul_(cayley.signs)
        parametrize.register_parametrization(core, name, cayley, unsafe=True)
    return core


def householder(*sizes: Any, **options: Any) -> UnconstrainedRNN:
    """W is a product of H reflections, torch's own parametrization (Mhammedi et al., 2017).

    The reflections stand below the diagonal of the parameter, signs on it: without weight decay
    no optimizer moves these. On the meta device, where there is nothing to factor, W stays plain;
    its count is the same.
    """
    core = UnconstrainedRNN(*sizes, **options)
    for name in recurrent_names(core):
        if not core.get_parameter(name).is_meta:
            orthogonal(core, name, "householder", use_trivialization=False)
    return core


def _count_training_pass(core: nn.Module, inputs: object) -> None:
    """Before a training pass of ``core``: let its trivializations count it."""
    if core.training:
        for module in core.modules():
            if isinstance(module, parametrize.ParametrizationList):
                made_by, v = module[0], module.original
                if isinstance(made_by, Trivialization):
                    made_by.count_pass_(v)
