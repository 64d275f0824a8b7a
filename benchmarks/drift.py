"""How far a weight strays from the manifold: ``python -m benchmarks.drift [--steps 10000] [...]``.

Every optimizer drives one square weight with random gradients, from rotation blocks, at every
learning rate; geoopt's Adam on its own manifolds stands beside. Shown are the largest Frobenius
norm and the largest entry of WᵀW - I in 200 looks, computed in double precision, what the largest
singular value becomes in a recurrence of 2000 steps, and the determinant at the end. A long run of
some optimizers: --modes Adam RMSprop --peers --lr 0.001 --steps 1000000.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import geoopt
import torch
from torch import Tensor
from tqdm import tqdm

from orthornn import (
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    Stiefel,
    henaff_,
)
from orthornn.manifolds.retractions import RETRACTIONS

MEASUREMENTS = 200
RECURRENCE_STEPS = 2000

MakeOptimizer = Callable[[list[Tensor], float], torch.optim.Optimizer]

MODES: dict[str, MakeOptimizer] = {
    "SGD": RiemannianSGD,
    "SGD, momentum": lambda p, lr: RiemannianSGD(p, lr, momentum=0.9),
    "SGD, Nesterov": lambda p, lr: RiemannianSGD(p, lr, momentum=0.9, nesterov=True),
    "Adam": RiemannianAdam,
    "Adam, amsgrad": lambda p, lr: RiemannianAdam(p, lr, amsgrad=True),
    "Adam, scalar": lambda p, lr: RiemannianAdam(p, lr, adaptivity="scalar"),
    "RMSprop": RiemannianRMSprop,
    "RMSprop, momentum": lambda p, lr: RiemannianRMSprop(p, lr, momentum=0.5),
    "RMSprop, a quarter of the rows": lambda p, lr: RiemannianRMSprop(p, lr, rows=0.25),
    "Muon": RiemannianMuon,
}
GEOOPT_MANIFOLDS: dict[str, geoopt.Manifold] = {
    "geoopt QR": geoopt.EuclideanStiefel(),
    "geoopt canonical (its default)": geoopt.CanonicalStiefel(),
    "geoopt exact": geoopt.EuclideanStiefelExact(),
}


class Drift(NamedTuple):
    """What became of one weight.

    Attributes:
        norm: the largest ``‖WᵀW - I‖`` (Frobenius) seen, Inf for a weight that is not finite.
        worst: the largest entry of ``WᵀW - I`` seen.
        power: the largest singular value at the end, to the power RECURRENCE.
        determinant: at the end.
        seconds: of all steps and looks.
    """

    norm: float
    worst: float
    power: float
    determinant: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="n of the n x n weight")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--lr", type=float, nargs="+", default=[1e-4, 1e-2, 1.0])
    parser.add_argument("--retractions", nargs="+", choices=RETRACTIONS, default=["polar"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=GEOOPT_MANIFOLDS,
        default=list(GEOOPT_MANIFOLDS),
        help="of geoopt; none if empty",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if min(options.size, options.steps, options.threads) < 1:
        parser.error("--size, --steps and --threads must be at least 1")
    if not all(0 <= lr < math.inf for lr in options.lr):
        parser.error("--lr must be finite and not negative")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    torch.set_num_threads(options.threads)
    cases = [
        (f"{retraction:<8}{mode}", Stiefel(retraction), MODES[mode], lr)
        for retraction in options.retractions
        for mode in options.modes
        for lr in options.lr
    ]
    cases += [
        (name, GEOOPT_MANIFOLDS[name], partial(geoopt.optim.RiemannianAdam), lr)
        for name in options.peers
        for lr in options.lr
    ]
    print(
        f"{options.size} x {options.size}, {options.dtype}, {options.steps} steps, "
        f"{options.threads} thread(s), torch {torch.__version__}\n"
        f"{'':<40}{'lr':>8}{'‖WᵀW - I‖':>13}{'worst entry':>13}{f'σ_max^{RECURRENCE_STEPS}':>13}"
        f"{'det':>8}{'s':>7}"
    )
    report = []
    with tqdm(
        total=len(cases) * options.steps,
        unit=" steps",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        for name, manifold, make, lr in cases:
            measured = measure_drift(
                manifold, make, lr, options.size, options.steps, options.dtype, bar.update
            )
            report.append({"name": name, "lr": lr, **measured._asdict()})
            line = f"{name:<40}{lr:>8g}{measured.norm:>13.1e}{measured.worst:>13.1e}"
            line += f"{measured.power:>13.6g}{measured.determinant:>8.3f}{measured.seconds:>7.1f}"
            tqdm.write(line, file=sys.stdout)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure_drift(
    manifold: geoopt.Manifold,
    make: MakeOptimizer,
    lr: float,
    size: int,
    steps: int,
    dtype: str,
    progress: Callable[[int], object] = lambda steps: None,
) -> Drift:
    """Move one weight by random gradients; the same ones for every case.

    ``progress`` is told of the steps made since it was told last.
    """
    generator = torch.Generator().manual_seed(0)
    kind = getattr(torch, dtype)
    start = henaff_(torch.empty(size, size, dtype=kind), generator=generator)
    gradients = torch.randn(min(steps, 64), size, size, dtype=kind, generator=generator)
    x = geoopt.ManifoldParameter(start, manifold=manifold)
    optimizer = make([x], lr)
    norm, worst, began, last = 0.0, 0.0, time.perf_counter(), 0
    for look in sorted({-(-steps * (k + 1) // MEASUREMENTS) for k in range(MEASUREMENTS)}):
        for step in range(last + 1, look + 1):
            x.grad = gradients[step % len(gradients)].clone()  # geoopt writes into it
            optimizer.step()
        progress(look - last)
        last = look
        w = x.detach().double()
        error = w.mT @ w - torch.eye(size, dtype=w.dtype)
        norm = max(norm, _or_inf(error.norm()))
        worst = max(worst, _or_inf(error.abs().max()))
    seconds = time.perf_counter() - began
    if worst == math.inf:
        return Drift(norm, worst, math.nan, math.nan, seconds)
    power = torch.linalg.svdvals(w).max().pow(RECURRENCE_STEPS).item()
    return Drift(norm, worst, power, torch.linalg.det(w).item(), seconds)


def _or_inf(error: Tensor) -> float:
    """The error; Inf where it is NaN, which no maximum would show."""
    value = error.item()
    return value if math.isfinite(value) else math.inf


if __name__ == "__main__":
    sys.exit(main())
