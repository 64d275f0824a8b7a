"""The cores that torch brings: ``nn.RNN``, also from the identity, ``nn.LSTM`` and ``nn.GRU``."""

from __future__ import annotations

import math

import torch
from torch import nn

from .checks import check_number

IRNN_INPUT_STD = 0.001  # standard deviation of an IRNN's input weights


def dropout_between_layers(dropout: float, num_layers: int) -> float:
    """The dropout between layers: none with one layer, where torch warns of any other value.

    A value out of its range goes to torch, which refuses it.
    """
    return 0.0 if num_layers == 1 and 0 <= dropout <= 1 else dropout


def rnn(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    nonlinearity: str = "tanh",
) -> nn.RNN:
    """``torch.nn.RNN`` with its own initialisation; the nonlinearity is tanh or relu."""
    return nn.RNN(
        input_size,
        hidden_size,
        num_layers,
        nonlinearity,
        dropout=dropout_between_layers(dropout, num_layers),
        bidirectional=bidirectional,
    )


def irnn(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    scale: float = 1.0,
) -> nn.RNN:
    """``torch.nn.RNN`` with ReLU that starts as a sum of its inputs: ``W = scale I``, no biases.

    The input weights are drawn from N(0, 0.001²) (Le, Jaitly & Hinton, 2015); a scale below 1 makes
    it forget.
    """
    check_number("scale", scale, 0)
    core = rnn(input_size, hidden_size, num_layers, bidirectional, dropout, nonlinearity="relu")
    with torch.no_grad():
        for name, p in core.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.eye_(p).mul_(scale)
            elif name.startswith("weight_ih"):
                p.normal_(0, IRNN_INPUT_STD)
            else:
                p.zero_()
    return core


def lstm(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    forget_bias: float = 1.0,
) -> nn.LSTM:
    """``torch.nn.LSTM``; the forget gates start at ``forget_bias`` (Jozefowicz et al., 2015)."""
    check_number("forget_bias", forget_bias, -math.inf)
    core = nn.LSTM(
        input_size,
        hidden_size,
        num_layers,
        dropout=dropout_between_layers(dropout, num_layers),
        bidirectional=bidirectional,
    )
    forget_gate = slice(hidden_size, 2 * hidden_size)
    with torch.no_grad():
        for name, p in core.named_parameters():
            if name.startswith("bias"):
                p[forget_gate] = forget_bias if name.startswith("bias_ih") else 0
    return core


def gru(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> nn.GRU:
    """``torch.nn.GRU`` with its own initialisation."""
    return nn.GRU(
        input_size,
        hidden_size,
        num_layers,
        dropout=dropout_between_layers(dropout, num_layers),
        bidirectional=bidirectional,
    )
