"""The update rules: from gradient and moments to a direction of descent, on any manifold.

A rule is ``(g, state, group, second_moment) -> (d, c)``: ``g`` is the Riemannian gradient in the
coordinates that the optimizer works in, ``state`` the moments (updated in place), ``group`` the
options, and ``second_moment`` how g² is taken: elementwise, or one mean per point. The direction
of descent is c d, with c a number: kept apart, it costs no pass over memory. d is not to be
written to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
Group = dict[str, Any]
SecondMoment = Callable[[Tensor], Tensor]
Direction = tuple[Tensor, float]
Rule = Callable[[Tensor, State, Group, SecondMoment], Direction]


def step_counter(steps: float = 0.0) -> Tensor:
    """A count of steps as torch keeps it: in no lower precision than float32."""
    wide = torch.get_default_dtype() == torch.float64
    return torch.tensor(steps, dtype=torch.float64 if wide else torch.float32)


def mean_square(g: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean of g² over the axes of one point, kept as axes of size 1; g² itself for none."""
    return g.square().mean(axes, keepdim=True) if axes else g.square()
