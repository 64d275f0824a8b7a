"""Recurrences that run in parallel over time, as their states do not mix: LRU and minGRU."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .checks import check_number, check_one_layer
from .linear_scan import linear_scan


class LinearRecurrentUnit(nn.Module):
    """The block of Orvieto et al., "Resurrecting recurrent neural networks", 2023, once.

    With u the input, normalised by layer, and complex states of H numbers::

        h_t = λ h_{t-1} + γ B u_t,    |λ| = exp(-exp(ν)),  arg λ = exp(θ)
        y_t = Re(C h_t) + D u_t
        output = x_t + GLU(GELU(y_t))

    The eigenvalues λ start uniform on a ring, their phases uniform up to ``max_phase``; γ starts at
    ``√(1 - |λ|²)``, so that states are of the size of the input. An input of another width than H
    passes through a linear encoder first.

    Args:
        input_size: I.
        hidden_size: H, of the states and the output.
        least_modulus, greatest_modulus: of the eigenvalues at first.
        max_phase: of the eigenvalues at first, in radians.

    Shape:
        x ``(T, B, I)``; state ``(1, B, 2H)``, real parts before imaginary ones, zero if None;
        output ``(T, B, H)``.

    Raises:
        ValueError: for a number out of its range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        least_modulus: float = 0.0,
        greatest_modulus: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__()
        check_number("greatest_modulus", greatest_modulus, 0, 1, above=True)
        check_number("least_modulus", least_modulus, 0, greatest_modulus)
        check_number("max_phase", max_phase, 0, 2 * math.pi, above=True)
        H = self.hidden_size = hidden_size
        same = input_size == H
        self.encoder = nn.Identity() if same else nn.Linear(input_size, H)
        self.norm = nn.LayerNorm(H)
        low, high = least_modulus**2, greatest_modulus**2
        modulus = (low + (high - low) * torch.rand(H)).sqrt().clamp(1e-6, 1 - 1e-6)
        self.log_decay = nn.Parameter((-modulus.log()).log())
        self.log_phase = nn.Parameter((max_phase * torch.rand(H)).clamp(min=1e-6).log())
        self.log_gain = nn.Parameter((1 - modulus.square()).sqrt().log())
        self.weight_in = nn.Parameter(torch.randn(2, H, H) / math.sqrt(2 * H))
        self.weight_out = nn.Parameter(torch.randn(2, H, H) / math.sqrt(H))
        self.skip = nn.Parameter(torch.randn(H))
        self.gate = nn.Linear(H, 2 * H)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.encoder(x)
        u = self.norm(x)
        T, B, H = u.shape
        h = u.new_zeros(B, 2 * H) if state is None else state[0]
        start = torch.complex(*h.chunk(2, -1))
        rate = torch.complex(-self.log_decay.exp(), self.log_phase.exp()).exp()
        drive = self.log_gain.exp() * torch.complex(*(u @ w.t() for w in self.weight_in))
        states = linear_scan(rate.expand(T, B, H), drive, start)
        real, imaginary = self.weight_out
        y = states.real @ real.t() - states.imag @ imaginary.t() + self.skip * u
        end = torch.cat([states[-1].real, states[-1].imag], -1).unsqueeze(0)
        return x + functional.glu(self.gate(functional.gelu(y)), -1), end


class MinGRU(nn.Module):
    """A GRU whose gate and candidate see the input alone (Feng et al., 2024).

    ::

        z_t = σ(W_z x_t + b_z)
        c_t = W_h x_t + b_h
        h_t = (1 - z_t) h_{t-1} + z_t c_t

    Shape:
        x ``(T, B, I)``; state ``(1, B, H)``, zero if None; output ``(T, B, H)``.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gate_and_candidate = nn.Linear(input_size, 2 * hidden_size)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        gate, candidate = self.gate_and_candidate(x).chunk(2, -1)
        h = x.new_zeros(x.shape[1], self.hidden_size) if state is None else state[0]
        states = linear_scan(torch.sigmoid(-gate), torch.sigmoid(gate) * candidate, h)
        return states, states[-1:]


def lru(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    least_modulus: float = 0.0,
    greatest_modulus: float = 1.0,
    max_phase: float = 2 * math.pi,
) -> LinearRecurrentUnit:
    """A diagonal linear recurrence between position-wise maps: one block, in one direction.

    Raises:
        ValueError: for several layers or directions.
    """
    check_one_layer(num_layers, bidirectional, dropout)
    return LinearRecurrentUnit(input_size, hidden_size, least_modulus, greatest_modulus, max_phase)


def mingru(
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> MinGRU:
    """The smallest GRU that runs in parallel over time: one layer, in one direction.

    Raises:
        ValueError: for several layers or directions.
    """
    check_one_layer(num_layers, bidirectional, dropout)
    return MinGRU(input_size, hidden_size)
