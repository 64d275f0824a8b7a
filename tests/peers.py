"""torch's classes and ours under one signature: the oracle of a contract, and what must meet it."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, OrthoRNNCell, backends


def with_tanh(cls):
    """``cls`` with torch's default nonlinearity, the fourth argument of both classes."""

    def make(*arguments, **options):
        return cls(*arguments, **({} if len(arguments) > 3 else {"nonlinearity": "tanh"}) | options)

    return make


# the backends that this machine can run, but for the scan of linear recurrences
RUNNING = sorted(name for name, reason in backends().items() if reason is None)
RUNNING.remove("scan")
LAYERS = {
    "torch.nn.RNN": nn.RNN,
    "OrthoRNN": with_tanh(OrthoRNN),
    "OrthoRNN modrelu": OrthoRNN,
}
CELLS = {
    "torch.nn.RNNCell": nn.RNNCell,
    "OrthoRNNCell": with_tanh(OrthoRNNCell),
    "OrthoRNNCell modrelu": OrthoRNNCell,
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
every_cell = pytest.mark.parametrize("make", CELLS.values(), ids=CELLS)

LENGTHS = {
    "falling": [7, 5, 5, 2, 1],
    "mixed": [2, 7, 5, 1, 5],
    "equal": [4, 4, 4],
    "one": [6],
    "short": [1, 1],
    "far apart": [1, 23, 2],
}
every_length = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def pair(nonlinearity="tanh", **options):
    """An OrthoRNN and a torch.nn.RNN with the same weights, in float64."""
    ours = OrthoRNN(3, 5, nonlinearity=nonlinearity, dtype=torch.float64, **options)
    for name, p in ours.named_parameters():
        if name.startswith("bias"):
            nn.init.normal_(p)
    theirs = nn.RNN(3, 5, nonlinearity=nonlinearity, dtype=torch.float64, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def h0_of(module, *batch):
    rows = module.num_layers * (2 if module.bidirectional else 1)
    return torch.randn(rows, *batch, module.hidden_size, dtype=module.weight_ih_l0.dtype)


def packed(lengths, features=3, dtype=torch.float64):
    """A packed batch, in the order given, its data a leaf that takes a gradient."""
    batch = pack_sequence(
        [torch.randn(n, features, dtype=dtype) for n in lengths], enforce_sorted=False
    )
    batch.data.requires_grad_()
    return batch


def outcome(action):
    """The exception that ``action`` raises, or None."""
    try:
        action()
    except Exception as error:
        return error
    return None
