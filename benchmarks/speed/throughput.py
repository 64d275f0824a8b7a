"""How near a recurrence comes to the peak of the machine, which is that of ``torch.mm``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from .cases import layers, passes
from .table import Action, Plan, Table
from .timing import Tell, Values, seconds

SQUARES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
TINY = (64,)


def tables(plan: Plan) -> Iterator[Table]:
    """Training steps over their recurrence's own operations, beside products of matrices.

    W h in each step of the forward pass, Wᵀg in each of the backward one and the gradient of W are
    2BH² operations each: 6TBH² in all. What a layer does besides is in its time and not in them.
    The last product is that of one step, (B, H) by (H, H): a loop over time has nothing else.
    """
    for size in passes.sizes(plan):
        T, B, _, H = size
        squares = TINY if plan.quick else SQUARES[plan.device.type]
        products = {f"torch.mm of n = {n}": (n, n) for n in squares}
        products["torch.mm of (B, H) by (H, H)"] = (B, H)
        names = layers.elman(plan.device)
        yield Table(
            f"throughput of a training step (6TBH² operations) at {size}",
            tuple(products),
            {name: partial(passes.training, name, size, plan.device) for name in names}
            | {name: partial(_product, *shape, plan.device) for name, shape in products.items()},
            frozenset(layers.own(plan.device)),
            dict.fromkeys(names, 6.0 * T * B * H**2)
            | {name: 2.0 * m * n**2 for name, (m, n) in products.items()},
        )


def measure(table: Table, plan: Plan, tell: Tell) -> tuple[Values, dict[str, str]]:
    """GFLOP/s of every turn, as :func:`seconds`."""
    values, failed = seconds(table, plan, tell)
    return {name: [table.flop[name] / s / 1e9 for s in of] for name, of in values.items()}, failed


def _product(m: int, n: int, device: torch.device) -> Action:
    a, b, out = (torch.randn(k, n, device=device) for k in (m, n, m))
    return partial(torch.mm, a, b, out=out)
