"""The recurrent layers that are compared: torch's, this library's by backend, and the peers'."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.speed.sizes import Size
from orthornn import OrthoRNN, backends

from . import peers

LAYER_REFERENCE = "nn.RNN relu"
GATED_LAYERS = ("nn.GRU", "nn.LSTM")
TORCH_LAYERS: dict[str, Callable[[Size], nn.Module]] = {
    LAYER_REFERENCE: lambda s: nn.RNN(s.I, s.H, nonlinearity="relu"),
    "nn.RNN tanh": lambda s: nn.RNN(s.I, s.H),
    "nn.GRU": lambda s: nn.GRU(s.I, s.H),
    "nn.LSTM": lambda s: nn.LSTM(s.I, s.H),
}
OWN_LAYERS: dict[str, Callable[[Size], nn.Module]] = {
    "OrthoRNN modrelu": lambda s: OrthoRNN(s.I, s.H, bias=False),
    "OrthoRNN relu": lambda s: OrthoRNN(s.I, s.H, nonlinearity="relu"),
    "OrthoRNN tanh": lambda s: OrthoRNN(s.I, s.H, nonlinearity="tanh"),
}
LOOP_BACKEND = "autograd"


def layer_makers() -> dict[str, Callable[[Size], nn.Module]]:
    """Every layer by its name, and how it is made: also those that do not run here."""
    return (
        TORCH_LAYERS
        | OWN_LAYERS
        | {_backend_layer_name(name): _backend_layer(name) for name in backends()}
        | peers.installed_peers()
    )


def own_layers(device: torch.device) -> list[str]:
    """This library's layers, and modReLU once more with every backend by name that runs here.

    One of them is what runs without a name: how far the two are apart is noise.
    """
    refusing = refused_backends(device)
    return [
        *OWN_LAYERS,
        *(_backend_layer_name(name) for name in backends() if name not in refusing),
    ]


def elman_layers(device: torch.device) -> list[str]:
    """Those whose recurrence is one H x H product a step, and nothing beside it."""
    return [*(name for name in TORCH_LAYERS if name not in GATED_LAYERS), *own_layers(device)]


def available_layers(device: torch.device) -> list[str]:
    """All that run here."""
    return [*TORCH_LAYERS, *own_layers(device), *peers.installed_peers()]


def describe_left_out(device: torch.device) -> Iterator[str]:
    """A line for every reason why some layer is none of them."""
    for name, package in peers.missing_peers().items():
        yield (
            f"{name} is left out: {package} is not installed "
            '(pip install -c constraints.txt -e ".[peers]")'
        )
    reasons: dict[str, list[str]] = {}
    for name, why in refused_backends(device).items():
        reasons.setdefault(backends()[name] or why, []).append(_backend_layer_name(name))
    for why, names in reasons.items():
        yield f"{', '.join(names)}: left out, {why}"


def refused_backends(device: torch.device) -> dict[str, str]:
    """The backends that refuse to be made, or to run on the device, and what they say."""
    reasons = {}
    for name in backends():
        try:
            with torch.no_grad():
                _backend_layer(name)(Size(1, 1, 1, 1)).to(device)(
                    torch.ones(1, 1, 1, device=device)
                )
        except ValueError as error:
            reasons[name] = str(error)
    return reasons


def _backend_layer_name(backend: str) -> str:
    return f"OrthoRNN modrelu, {'autograd loop' if backend == LOOP_BACKEND else backend}"


def _backend_layer(name: str) -> Callable[[Size], nn.Module]:
    return lambda s: OrthoRNN(s.I, s.H, bias=False, backend=name)
