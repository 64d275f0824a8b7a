"""Retractions of a square point, beside geoopt's QR."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import geoopt
import torch

from benchmarks.speed.table import Make, SpeedPlan, SpeedTable
from orthornn import Stiefel
from orthornn.linalg import skew
from orthornn.manifolds.retractions import RETRACTIONS

RETRACTION_REFERENCE = "geoopt QR"
POINT_SIZES = (64, 128, 190, 512, 1024, 2048)


def retraction_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """One tangent step u = x a of an n x n point, every entry of a being about 1e-3."""
    for n in (8,) if plan.quick else POINT_SIZES:
        candidates = _candidates(n, plan.device)
        own = frozenset(name for name in candidates if name.partition(":")[0] in RETRACTIONS)
        yield SpeedTable(
            f"retraction of one {n} x {n} point", (RETRACTION_REFERENCE,), candidates, own
        )


def _candidates(n: int, device: torch.device) -> dict[str, Make]:
    """Each makes the same point and step anew."""

    def made() -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        x = Stiefel().random(n, n).data.to(device)
        return x, 1e-3 * skew(torch.randn(n, n)).to(device)

    def geoopts(manifold: geoopt.Manifold) -> Make:
        def make() -> partial[object]:
            x, a = made()
            return partial(manifold.retr, x, x @ a)

        return make

    return {
        RETRACTION_REFERENCE: geoopts(geoopt.EuclideanStiefel()),
        "geoopt canonical": geoopts(geoopt.CanonicalStiefel()),
        "one product": lambda: partial(torch.mm, *made()),
        **{
            f"{name}: {row.cost}": partial(lambda row: partial(row.retract_skew, *made(), 1.0), row)
            for name, row in RETRACTIONS.items()
        },
    }
