"""Whether a network tracks a state, and how near its matrices are to a representation.

Matrices of shape (V, H, H) are those of V tokens, ``SwitchedOrthoRNN.matrices()``. The token that
acts first stands on the right: W_a W_b is b, then a.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

SEGMENT_STEPS = 1024  # of a stream, whose outputs are held at once


class Horizon(NamedTuple):
    """How far a model tracks the state of a stream."""

    steps: int
    """The steps before the first window that is not right; all of them where there is none."""
    is_lost: bool
    """Whether there is such a window."""
    accuracy: Tensor
    """The share of right labels over the batch at each step seen, (T,), float64 on the CPU."""


@torch.no_grad()
def horizon(
    model: Callable[..., tuple[Tensor, Any]],
    tokens: Tensor,
    labels: Tensor,
    *,
    window: int = 32,
    accuracy: float = 0.99,
    stop: bool = False,
) -> Horizon:
    """The step at which a model is lost: where it names less than ``accuracy`` of the labels.

    The stream is read in segments, the state carried over. The share of right labels is that of
    the batch over ``window`` steps in a row. (Chung, Choi & Yu, 2026, on why a learned tracker has
    a finite horizon.)

    Args:
        model: ``(tokens, state) -> (scores (T, B, L), state)``, time first; state None at first.
        tokens: (T, B), or features (T, B, I).
        labels: (T, B), the classes that are right. Scores that are not finite are wrong.
        window: steps, from 1.
        accuracy: share of right labels, from 0 to 1.
        stop: whether to stop reading once the model is lost.

    Raises:
        ValueError: for a stream of other axes, of no sequences or of fewer steps than a window,
            for a window below 1 or an accuracy out of range.
    """
    if window < 1 or not 0 <= accuracy <= 1:
        raise ValueError(
            f"expected a window of at least 1 and an accuracy from 0 to 1, got {window} and "
            f"{accuracy}"
        )
    if (
        labels.dim() != 2
        or tokens.shape[:2] != labels.shape
        or len(labels) < window
        or not labels.numel()
    ):
        raise ValueError(
            f"expected tokens and labels (T, B), B > 0, of at least {window} steps, got "
            f"{tuple(tokens.shape)} and {tuple(labels.shape)}"
        )
    state: Any = None
    shares: list[Tensor] = []
    segments = (torch.split(a, SEGMENT_STEPS) for a in (tokens, labels))
    for part, right in zip(*segments, strict=True):
        scores, state = model(part, state)
        named = (scores.argmax(-1) == right) & scores.isfinite().all(-1)
        shares.append(named.double().mean(1).cpu())
        if stop and _first_lost(torch.cat(shares), window, accuracy) is not None:
            break
    share = torch.cat(shares)
    lost = _first_lost(share, window, accuracy)
    return Horizon(len(share) if lost is None else lost, lost is not None, share)


def _first_lost(share: Tensor, window: int, accuracy: float) -> int | None:
    """The first step of the first window that is below the accuracy."""
    if len(share) < window:
        return None
    wrong = (share.unfold(0, window, 1).mean(1) < accuracy).nonzero()
    return int(wrong[0]) if len(wrong) else None


class Products(NamedTuple):
    """What the products of matrices are nearest to."""

    table: Tensor
    """The c whose W_c is nearest to W_a W_b, int64 (V, V)."""
    errors: Tensor
    """``‖W_a W_b - W_c‖`` (Frobenius), (V, V)."""


def product_table(matrices: Tensor) -> Products:
    """The table of products: which W_c is nearest to each W_a W_b, and how near.

    Of a representation of a group, where every element is a token, it is the group's own table and
    the errors are 0.

    Args:
        matrices: (V, H, H).
    """
    m = matrices.detach().double()
    flat = m.flatten(1)
    rows = [torch.cdist((a @ m).flatten(1), flat).min(1) for a in m]
    return Products(
        torch.stack([row.indices for row in rows]), torch.stack([row.values for row in rows])
    )


def homomorphism_error(matrices: Tensor, table: Tensor) -> Tensor:
    """``‖W_a W_b - W_ab‖`` (Frobenius) of all pairs, (V, V), where ``table[a, b]`` is ab.

    Args:
        matrices: (V, H, H).
        table: int64 (V, V), the multiplication of a group.

    Raises:
        ValueError: for a table of another shape.
    """
    if table.shape != (len(matrices), len(matrices)):
        expected = (len(matrices), len(matrices))
        raise ValueError(f"expected a table of shape {expected}, got {tuple(table.shape)}")
    m = matrices.detach().double()
    pairs = zip(m, table, strict=True)
    return torch.stack([(a @ m - m[ab]).flatten(1).norm(dim=1) for a, ab in pairs])


def characters(matrices: Tensor) -> Tensor:
    """The characters ``χ(x) = tr W(x)``, (V,) float64; equal on each class of a group.

    The mean of χ² over a group is the number of irreducible parts of the representation, those of
    equal kind counted in square.

    Args:
        matrices: (V, H, H).
    """
    return matrices.detach().double().diagonal(dim1=-2, dim2=-1).sum(-1)
