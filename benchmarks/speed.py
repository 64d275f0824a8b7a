"""Time OrthoRNN against torch's layers: ``python -m benchmarks.speed [--threads 1] [--json FILE]``.

Training steps stand beside ``torch.nn.RNN`` (ReLU), optimizer steps beside geoopt's Adam with its
QR retraction, as ratios within one run; the candidates take turns, so that what else the machine
does falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import geoopt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from orthornn import OrthoRNN, RiemannianAdam, RiemannianRMSprop, Stiefel

PEER = "nn.RNN relu"


class Size(NamedTuple):
    """Time, batch, input and hidden size of one comparison."""

    T: int
    B: int
    I: int
    H: int


SIZES = (Size(200, 128, 10, 128), Size(1000, 128, 10, 190), Size(200, 128, 10, 512))
LAYERS: dict[str, Callable[[Size], nn.Module]] = {
    PEER: lambda s: nn.RNN(s.I, s.H, nonlinearity="relu"),
    "OrthoRNN modrelu": lambda s: OrthoRNN(s.I, s.H, bias=False),
    "OrthoRNN relu": lambda s: OrthoRNN(s.I, s.H, nonlinearity="relu"),
    "OrthoRNN modrelu, autograd loop": lambda s: OrthoRNN(
        s.I, s.H, bias=False, backend="reference"
    ),
    "nn.GRU": lambda s: nn.GRU(s.I, s.H),
    "nn.LSTM": lambda s: nn.LSTM(s.I, s.H),
}
GEOOPT = "geoopt RiemannianAdam, QR"
POINT_SIZES = (64, 128, 190, 512)
STEPS: dict[str, Callable[[Tensor], torch.optim.Optimizer]] = {
    GEOOPT: lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.EuclideanStiefel())], lr=1e-3
    ),
    "RiemannianAdam, polar": lambda x: _adam(x, "polar"),
    "RiemannianAdam, qr": lambda x: _adam(x, "qr"),
    "RiemannianAdam, cayley": lambda x: _adam(x, "cayley"),
    "RiemannianAdam, exp": lambda x: _adam(x, "exp"),
    "RiemannianRMSprop, polar": lambda x: RiemannianRMSprop(
        [geoopt.ManifoldParameter(x, manifold=Stiefel())], lr=1e-3
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", type=Path, help="also write the seconds to this file")
    options = parser.parse_args(arguments)
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats must be at least 1")
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), {platform.machine()} with "
        f"{os.cpu_count()} cores, median of {options.repeats} [fastest, slowest]"
    )
    sizes = (Size(5, 2, 3, 4),) if options.quick else SIZES
    points = (8,) if options.quick else POINT_SIZES
    report = {}
    for size in sizes:
        title = "training step (forward and backward) at " + ", ".join(
            f"{letter} = {value}" for letter, value in size._asdict().items()
        )
        layers = {name: _layer_step(make(size), size) for name, make in LAYERS.items()}
        report[title] = _compare(title, layers, PEER, options.repeats)
    for n in points:
        title = f"optimizer step of one {n} x {n} weight"
        steps = {name: _optimizer_step(make, n) for name, make in STEPS.items()}
        report[title] = _compare(title, steps, GEOOPT, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _adam(x: Tensor, retraction: str) -> RiemannianAdam:
    return RiemannianAdam([geoopt.ManifoldParameter(x, manifold=Stiefel(retraction))], lr=1e-3)


def _layer_step(layer: nn.Module, size: Size) -> Callable[[], None]:
    x = torch.randn(size.T, size.B, size.I)

    def step() -> None:
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return step


def _optimizer_step(make: Callable[[Tensor], torch.optim.Optimizer], n: int) -> Callable[[], None]:
    torch.manual_seed(0)
    optimizer = make(Stiefel().random(n, n).data)
    optimizer.param_groups[0]["params"][0].grad = torch.randn(n, n)

    def step() -> None:
        optimizer.step()

    return step


def _compare(
    title: str, actions: dict[str, Callable[[], None]], peer: str, repeats: int
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()  # warm up
    for _ in tqdm(range(repeats), desc=title, leave=False, disable=not sys.stderr.isatty()):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - began)
    print(f"\n{title}")
    of_peer = statistics.median(seconds[peer])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"  {name:<32} {1e3 * median:9.2f} ms  [{1e3 * min(values):.2f}, "
            f"{1e3 * max(values):.2f}]  {median / of_peer:5.2f} x {peer}"
        )
    return seconds


if __name__ == "__main__":
    sys.exit(main())
