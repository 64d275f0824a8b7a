"""Optimizer steps of one square weight, beside geoopt's Adam with its QR retraction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import geoopt
import torch
from torch import Tensor

from benchmarks.speed.table import Action, SpeedPlan, SpeedTable
from orthornn import RiemannianAdam, RiemannianMuon, RiemannianRMSprop, RiemannianSGD, Stiefel

OPTIMIZER_REFERENCE = "geoopt RiemannianAdam, QR"
WEIGHT_SIZES = (64, 128, 190, 512, 1024)
PEER_OPTIMIZERS: dict[str, Callable[[Tensor], torch.optim.Optimizer]] = {
    OPTIMIZER_REFERENCE: lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.EuclideanStiefel())], lr=1e-3
    ),
    "geoopt RiemannianAdam, canonical": lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.CanonicalStiefel())], lr=1e-3
    ),
}
OWN_OPTIMIZERS: dict[str, Callable[[Tensor], torch.optim.Optimizer]] = {
    "RiemannianAdam": lambda x: RiemannianAdam([_point(x)], lr=1e-3),
    "RiemannianAdam, scalar": lambda x: RiemannianAdam([_point(x)], lr=1e-3, adaptivity="scalar"),
    "RiemannianRMSprop": lambda x: RiemannianRMSprop([_point(x)], lr=3e-4, alpha=0.9),
    "RiemannianSGD, momentum": lambda x: RiemannianSGD([_point(x)], lr=1e-4, momentum=0.9),
    "RiemannianRMSprop, rows=0.25": lambda x: RiemannianRMSprop([_point(x)], lr=1e-3, rows=0.25),
    "RiemannianMuon": lambda x: RiemannianMuon([_point(x)], lr=1e-3),
}


def optimizer_tables(plan: SpeedPlan) -> Iterator[SpeedTable]:
    """One step of one n x n weight."""
    for n in (8,) if plan.quick else WEIGHT_SIZES:
        yield SpeedTable(
            f"optimizer step of one {n} x {n} weight",
            (OPTIMIZER_REFERENCE,),
            {
                name: partial(_step, name, n, plan.device)
                for name in PEER_OPTIMIZERS | OWN_OPTIMIZERS
            },
            frozenset(OWN_OPTIMIZERS),
        )


def _point(x: Tensor) -> geoopt.ManifoldParameter:
    return geoopt.ManifoldParameter(x, manifold=Stiefel())


def _step(name: str, n: int, device: torch.device) -> Action:
    torch.manual_seed(0)
    optimizer = (PEER_OPTIMIZERS | OWN_OPTIMIZERS)[name](Stiefel().random(n, n).data.to(device))
    optimizer.param_groups[0]["params"][0].grad = torch.randn(n, n, device=device)

    def step() -> None:
        optimizer.step()

    return step
