"""The recurrent layers that are compared: torch's, this library's by backend, and the peers'."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.speed.sizes import Size
from orthornn import OrthoRNN
from orthornn.recurrence import backends

from . import peers

REFERENCE = "nn.RNN relu"
GATED = ("nn.GRU", "nn.LSTM")
TORCH: dict[str, Callable[[Size], nn.Module]] = {
    REFERENCE: lambda s: nn.RNN(s.I, s.H, nonlinearity="relu"),
    "nn.RNN tanh": lambda s: nn.RNN(s.I, s.H),
    "nn.GRU": lambda s: nn.GRU(s.I, s.H),
    "nn.LSTM": lambda s: nn.LSTM(s.I, s.H),
}
OWN: dict[str, Callable[[Size], nn.Module]] = {
    "OrthoRNN modrelu": lambda s: OrthoRNN(s.I, s.H, bias=False),
    "OrthoRNN relu": lambda s: OrthoRNN(s.I, s.H, nonlinearity="relu"),
    "OrthoRNN tanh": lambda s: OrthoRNN(s.I, s.H, nonlinearity="tanh"),
}
LOOP = "autograd"


def makers() -> dict[str, Callable[[Size], nn.Module]]:
    """Every layer by its name, and how it is made: also those that do not run here."""
    return TORCH | OWN | {_called(name): _backend(name) for name in backends()} | peers.installed()


def own(device: torch.device) -> list[str]:
    """This library's layers, and modReLU once more with every backend by name that runs here.

    One of them is what runs without a name: how far the two are apart is noise.
    """
    refusing = refused(device)
    return [*OWN, *(_called(name) for name in backends() if name not in refusing)]


def elman(device: torch.device) -> list[str]:
    """Those whose recurrence is one H x H product a step, and nothing beside it."""
    return [*(name for name in TORCH if name not in GATED), *own(device)]


def candidates(device: torch.device) -> list[str]:
    """All that run here."""
    return [*TORCH, *own(device), *peers.installed()]


def left_out(device: torch.device) -> Iterator[str]:
    """A line for every reason why some layer is none of them."""
    for name, package in peers.missing().items():
        yield (
            f"{name} is left out: {package} is not installed "
            '(pip install -c constraints.txt -e ".[peers]")'
        )
    reasons: dict[str, list[str]] = {}
    for name, why in refused(device).items():
        reasons.setdefault(backends()[name] or why, []).append(_called(name))
    for why, names in reasons.items():
        yield f"{', '.join(names)}: left out, {why}"


def refused(device: torch.device) -> dict[str, str]:
    """The backends that refuse to be made, or to run on the device, and what they say."""
    found = {}
    for name in backends():
        try:
            with torch.no_grad():
                _backend(name)(Size(1, 1, 1, 1)).to(device)(torch.ones(1, 1, 1, device=device))
        except ValueError as error:
            found[name] = str(error)
    return found


def _called(backend: str) -> str:
    return f"OrthoRNN modrelu, {'autograd loop' if backend == LOOP else backend}"


def _backend(name: str) -> Callable[[Size], nn.Module]:
    return lambda s: OrthoRNN(s.I, s.H, bias=False, backend=name)
