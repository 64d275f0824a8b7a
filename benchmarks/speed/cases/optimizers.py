"""Optimizer steps of one square weight, beside geoopt's Adam with its QR retraction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import geoopt
import torch
from torch import Tensor

from benchmarks.speed.table import Action, Plan, Table
from orthornn import RiemannianAdam, RiemannianMuon, RiemannianRMSprop, RiemannianSGD, Stiefel

REFERENCE = "geoopt RiemannianAdam, QR"
SIZES = (64, 128, 190, 512, 1024)
PEERS: dict[str, Callable[[Tensor], torch.optim.Optimizer]] = {
    REFERENCE: lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.EuclideanStiefel())], lr=1e-3
    ),
    "geoopt RiemannianAdam, canonical": lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.CanonicalStiefel())], lr=1e-3
    ),
}
OWN: dict[str, Callable[[Tensor], torch.optim.Optimizer]] = {
    "RiemannianAdam": lambda x: RiemannianAdam([_point(x)], lr=1e-3),
    "RiemannianAdam, scalar": lambda x: RiemannianAdam([_point(x)], lr=1e-3, adaptivity="scalar"),
    "RiemannianRMSprop": lambda x: RiemannianRMSprop([_point(x)], lr=3e-4, alpha=0.9),
    "RiemannianSGD, momentum": lambda x: RiemannianSGD([_point(x)], lr=1e-4, momentum=0.9),
    "RiemannianRMSprop, rows=0.25": lambda x: RiemannianRMSprop([_point(x)], lr=1e-3, rows=0.25),
    "RiemannianMuon": lambda x: RiemannianMuon([_point(x)], lr=1e-3),
}


def tables(plan: Plan) -> Iterator[Table]:
    """One step of one n x n weight."""
    for n in (8,) if plan.quick else SIZES:
        yield Table(
            f"optimizer step of one {n} x {n} weight",
            (REFERENCE,),
            {name: partial(_step, name, n, plan.device) for name in PEERS | OWN},
            frozenset(OWN),
        )


def _point(x: Tensor) -> geoopt.ManifoldParameter:
    return geoopt.ManifoldParameter(x, manifold=Stiefel())


def _step(name: str, n: int, device: torch.device) -> Action:
    torch.manual_seed(0)
    optimizer = (PEERS | OWN)[name](Stiefel().random(n, n).data.to(device))
    optimizer.param_groups[0]["params"][0].grad = torch.randn(n, n, device=device)

    def step() -> None:
        optimizer.step()

    return step
