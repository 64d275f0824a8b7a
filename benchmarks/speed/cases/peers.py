"""Orthogonal and plain recurrences of other packages, as their user would run them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from benchmarks.speed.sizes import Size
from orthornn.recurrence.elman.nonlinearity import modrelu


class ParametrizedLoop(nn.Module):
    """``h_t = modReLU(W h_{t-1} + V x_t)`` as a loop over time, with a parametrized W.

    W is computed once in a pass: ``parametrize.cached()`` keeps it. The steps are taken apart by
    ``unbind``, for the backward pass of indexing is quadratic in T.

    Args:
        size: of the layer.
        orthogonal: what makes the weight of a ``torch.nn.Linear`` orthogonal.
    """

    def __init__(self, size: Size, orthogonal: Callable[[nn.Module], object]) -> None:
        super().__init__()
        self.inward = nn.Linear(size.I, size.H, bias=False)
        self.recurrent = nn.Linear(size.H, size.H, bias=False)
        self.threshold = nn.Parameter(torch.empty(size.H).uniform_(-0.01, 0.01))
        orthogonal(self.recurrent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of x ``(T, B, I)`` all states ``(T, B, H)``, and the last."""
        h = x.new_zeros(x.shape[1], len(self.threshold))
        states = []
        with parametrize.cached():
            for z in self.inward(x).unbind(0):
                h = modrelu(z + self.recurrent(h), self.threshold)
                states.append(h)
        return torch.stack(states), h


class Peer(NamedTuple):
    """A layer of another package.

    Attributes:
        package: what has to be installed.
        make: the layer, from that package and a size.
    """

    package: str
    make: Callable[[ModuleType, Size], nn.Module]


PEER_LAYERS = {
    "geotorch orthogonal, loop": Peer(
        "geotorch",
        lambda geotorch, s: ParametrizedLoop(s, lambda w: geotorch.orthogonal(w, "weight")),
    ),
    "torch orthogonal, loop": Peer(
        "torch", lambda _, s: ParametrizedLoop(s, parametrizations.orthogonal)
    ),
    # a plain recurrence mixed with the last state by two learned numbers: that package's plainest
    "torchrecurrent FastRNN": Peer(
        "torchrecurrent", lambda torchrecurrent, s: torchrecurrent.FastRNN(s.I, s.H)
    ),
}


def installed_peers() -> dict[str, Callable[[Size], nn.Module]]:
    """The peers that can be made here."""
    packages = {peer.package: _package(peer.package) for peer in PEER_LAYERS.values()}
    return {
        name: _bind(peer.make, package)
        for name, peer in PEER_LAYERS.items()
        if (package := packages[peer.package]) is not None
    }


def missing_peers() -> dict[str, str]:
    """The peers that cannot be made here, with the package that each needs."""
    installed = installed_peers()
    return {name: peer.package for name, peer in PEER_LAYERS.items() if name not in installed}


def _bind(
    make: Callable[[ModuleType, Size], nn.Module], package: ModuleType
) -> Callable[[Size], nn.Module]:
    return lambda size: make(package, size)


def _package(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
