"""The cores with a recurrent matrix for each token: kept orthogonal, or left free."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from orthornn import SwitchedOrthoRNN
from orthornn.init import haar_
from orthornn.recurrence import SWITCHED

from .checks import check_one_layer


class SwitchedRNN(nn.Module):
    """``h_t = W(x_t) h_{t-1}`` with any matrices W(x), orthogonal at first, and a learned h_0.

    Normalised, ``h_t = W(x_t) h_{t-1} / ‖W(x_t) h_{t-1}‖`` (Ebrahimi & Memisevic, 2025). The rest
    is :class:`orthornn.SwitchedOrthoRNN`.

    Args:
        num_embeddings: V, different tokens.
        hidden_size: n.
        normalized: whether each state is divided by its norm, in a loop of torch's operations.

    Shape:
        tokens int64 ``(T, B)``; state ``(1, B, n)``, the learned one if None; output ``(T, B, n)``.
    """

    def __init__(self, num_embeddings: int, hidden_size: int, normalized: bool = False) -> None:
        super().__init__()
        self.hidden_size, self.normalized = hidden_size, normalized
        self.weight_hh = nn.Parameter(torch.empty(num_embeddings, hidden_size, hidden_size))
        self.initial_state = nn.Parameter(functional.normalize(torch.randn(hidden_size), dim=0))
        haar_(self.weight_hh)

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = self.initial_state.expand(tokens.shape[1], -1) if state is None else state[0]
        states = self._normalized_states(tokens, h) if self.normalized else self._run(tokens, h)
        return states, states[-1:]

    def _run(self, tokens: Tensor, h: Tensor) -> Tensor:
        return SWITCHED.run(SWITCHED.inputs(tokens, h, self.weight_hh), SWITCHED.kind())

    def _normalized_states(self, tokens: Tensor, h: Tensor) -> Tensor:
        n = self.hidden_size
        w = functional.embedding(tokens, self.weight_hh.flatten(1)).view(*tokens.shape, n, n)
        states = []
        for w_t in w.unbind():
            h = functional.normalize((w_t @ h.unsqueeze(-1)).squeeze(-1), dim=-1)
            states.append(h)
        return torch.stack(states)


def switched(
    num_embeddings: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> SwitchedOrthoRNN:
    """One matrix a token, each a point of the Stiefel manifold.

    ``options`` are those of :class:`orthornn.SwitchedOrthoRNN`.

    Raises:
        ValueError: for several layers or directions.
    """
    check_one_layer(num_layers, bidirectional, dropout)
    return SwitchedOrthoRNN(num_embeddings, hidden_size, **options)


def switched_resets(num_embeddings: int, *sizes: Any, **options: Any) -> SwitchedOrthoRNN:
    """The same with a gate for each token, exactly open or shut, and a learned state to go to."""
    return switched(num_embeddings, *sizes, resets=True, **options)


def reflections(
    num_embeddings: int, *sizes: Any, count: int = 4, **options: Any
) -> SwitchedOrthoRNN:
    """One matrix a token, a product of ``count`` reflections, whose vectors any optimizer moves."""
    return switched(num_embeddings, *sizes, reflections=count, **options)


def switched_free(
    num_embeddings: int,
    hidden_size: int,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    normalized: bool = False,
) -> SwitchedRNN:
    """One matrix a token, orthogonal at first and then as free as any weight.

    Raises:
        ValueError: for several layers or directions.
    """
    check_one_layer(num_layers, bidirectional, dropout)
    return SwitchedRNN(num_embeddings, hidden_size, normalized)


def switched_normalized(num_embeddings: int, hidden_size: int, **options: Any) -> SwitchedRNN:
    """The same with the state divided by its norm at every step."""
    return switched_free(num_embeddings, hidden_size, normalized=True, **options)
