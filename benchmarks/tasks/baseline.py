"""How well counts predict an outcome from the one thing a model without memory can see."""

from __future__ import annotations

import torch
from torch import Tensor

PRIOR_STRENGTHS = (1.0, 10.0, 100.0, 1000.0)


def smoothed_count_loss(
    contexts: Tensor, outcomes: Tensor, held_contexts: Tensor, held_outcomes: Tensor, types: int
) -> float:
    """Cross-entropy, in nats, of held-out outcomes under smoothed counts of training pairs.

    ``p(b | a) = (n(a, b) + s p(b)) / (n(a) + s)`` with ``p(b) = (n(b) + 1) / (n + types)``: counts
    with a Dirichlet prior around the frequency of the outcome (MacKay & Peto, 1995). Of some
    strengths s the best on the held-out pairs is taken, so that the baseline is a hard one.

    Args:
        contexts: what is seen in each training pair, int64 ``(N,)``.
        outcomes: what follows from it, in ``[0, types)``.
        held_contexts: the same of the held-out pairs, int64 ``(M,)``.
        held_outcomes: what follows from it.
        types: different outcomes.
    """
    n_b = torch.bincount(outcomes, minlength=types).double()
    p_b = ((n_b + 1) / (n_b.sum() + types))[held_outcomes]
    largest = int(torch.cat([contexts, held_contexts]).max()) + 1
    n_a = torch.bincount(contexts, minlength=largest).double()[held_contexts]
    pairs, counts = torch.unique(contexts * types + outcomes, return_counts=True)
    sought = held_contexts * types + held_outcomes
    place = torch.searchsorted(pairs, sought).clamp(max=len(pairs) - 1)
    n_ab = torch.where(pairs[place] == sought, counts[place], 0).double()
    losses = [-((n_ab + s * p_b) / (n_a + s)).log().mean().item() for s in PRIOR_STRENGTHS]
    return min(losses)
