"""How near a recurrence comes to the peak of the machine, which is that of ``torch.mm``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from .cases import layer_passes, layers
from .table import Action, SpeedPlan, SpeedTable
from .timing import OnProgress, Values, measure_seconds

SQUARE_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
TINY_SQUARES = (64,)


def throughput_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """Training steps over their recurrence's own operations, beside products of matrices.

    W h in each step of the forward pass, Wᵀg in each of the backward one and the gradient of W are
    2BH² operations each: 6TBH² in all. What a layer does besides is in its time and not in them.
    The last product is that of one step, (B, H) by (H, H): a loop over time has nothing else.
    """
    for size in layer_passes.chosen_sizes(plan):
        T, B, _, H = size
        squares = TINY_SQUARES if plan.quick else SQUARE_SIZES[plan.device.type]
        products = {f"torch.mm of n = {n}": (n, n) for n in squares}
        products["torch.mm of (B, H) by (H, H)"] = (B, H)
        names = layers.elman_layers(plan.device)
        yield SpeedTable(
            f"throughput of a training step (6TBH² operations) at {size}",
            tuple(products),
            {name: partial(layer_passes.training_step, name, size, plan.device) for name in names}
            | {name: partial(_product, *shape, plan.device) for name, shape in products.items()},
            frozenset(layers.own_layers(plan.device)),
            dict.fromkeys(names, 6.0 * T * B * H**2)
            | {name: 2.0 * m * n**2 for name, (m, n) in products.items()},
        )


def measure_throughput(
    table: SpeedTable, plan: SpeedPlan, on_progress: OnProgress
) -> tuple[Values, dict[str, str]]:
    """GFLOP/s of every turn, as :func:`seconds`."""
    values, failed = measure_seconds(table, plan, on_progress)
    return {name: [table.flop[name] / s / 1e9 for s in of] for name, of in values.items()}, failed


def _product(m: int, n: int, device: torch.device) -> Action:
    a, b, out = (torch.randn(k, n, device=device) for k in (m, n, m))
    return partial(torch.mm, a, b, out=out)
