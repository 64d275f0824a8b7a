"""The recurrent layers that are compared: torch's, this library's by backend, and the peers'."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

from orthornn import OrthoRNN
from orthornn.recurrence import BACKENDS

from . import peers
from .sizes import Size

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
LOOP = "reference"


def own() -> dict[str, Callable[[Size], nn.Module]]:
    """This library's layers, and modReLU once more with every backend by name that runs here.

    One of them is what runs without a name: how far the two are apart is noise.
    """
    refusing = refused()
    return OWN | {
        f"OrthoRNN modrelu, {'autograd loop' if name == LOOP else name}": _backend(name)
        for name in BACKENDS
        if name not in refusing
    }


def candidates() -> dict[str, Callable[[Size], nn.Module]]:
    """Every layer by its name, and how it is made."""
    return TORCH | own() | peers.installed()


def elman() -> dict[str, Callable[[Size], nn.Module]]:
    """Those whose recurrence is one H x H product a step, and nothing beside it."""
    return {name: make for name, make in TORCH.items() if name not in GATED} | own()


def left_out() -> Iterator[str]:
    """A line for every layer that cannot be made here."""
    for name, package in peers.missing().items():
        yield (
            f"{name} is left out: {package} is not installed "
            '(pip install -c constraints.txt -e ".[peers]")'
        )
    for name, why in refused().items():
        yield f"OrthoRNN, backend {name}, is left out: {why}"


def refused() -> dict[str, str]:
    """The backends that do not run here, and what they say."""
    found = {}
    for name in BACKENDS:
        try:
            _backend(name)(Size(1, 1, 1, 1))
        except ValueError as error:
            found[name] = str(error)
    return found


def _backend(name: str) -> Callable[[Size], nn.Module]:
    return lambda s: OrthoRNN(s.I, s.H, bias=False, backend=name)
