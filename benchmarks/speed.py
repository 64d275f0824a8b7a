"""Time this library beside its peers: ``python -m benchmarks.speed [--parts ...] [--threads 1]``.

Training steps stand beside ``torch.nn.RNN`` (ReLU), optimizer steps beside geoopt's Adam with its
QR retraction, retractions beside geoopt's QR, as ratios within one run; the candidates take turns,
of one call or as many as fit in 20 ms, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import geoopt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from tqdm import tqdm

from orthornn import (
    OrthoRNN,
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    Stiefel,
)
from orthornn.linalg import skew
from orthornn.retraction import RETRACTIONS

TURN = 0.02  # seconds
PEER = "nn.RNN relu"
TABLE = RETRACTIONS.items()

# a title, the name of the peer, and what takes turns
Comparison = tuple[str, str, Mapping[str, Callable[[], object]]]


class Size(NamedTuple):
    """Time, batch, input and hidden size of one comparison."""

    T: int
    B: int
    I: int
    H: int


SIZES = (Size(200, 128, 10, 128), Size(1000, 128, 10, 190), Size(200, 128, 10, 512))
PACKED_SIZES = (Size(30, 16, 10, 32), Size(300, 64, 10, 64), Size(500, 128, 10, 128))
TINY = (Size(5, 2, 3, 4),)
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
POINT_SIZES = (64, 128, 190, 512, 1024)
RETRACTION_SIZES = (64, 128, 190, 512, 1024, 2048)
STEPS: dict[str, Callable[[Tensor], torch.optim.Optimizer]] = {
    GEOOPT: lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.EuclideanStiefel())], lr=1e-3
    ),
    "geoopt RiemannianAdam, canonical": lambda x: geoopt.optim.RiemannianAdam(
        [geoopt.ManifoldParameter(x, manifold=geoopt.CanonicalStiefel())], lr=1e-3
    ),
    "RiemannianAdam": lambda x: RiemannianAdam([_point(x)], lr=1e-3),
    "RiemannianAdam, matrix": lambda x: RiemannianAdam([_point(x)], lr=1e-3, adaptivity="matrix"),
    "RiemannianRMSprop": lambda x: RiemannianRMSprop([_point(x)], lr=3e-4, alpha=0.9),
    "RiemannianSGD, momentum": lambda x: RiemannianSGD([_point(x)], lr=1e-4, momentum=0.9),
    "RiemannianRMSprop, rows=0.25": lambda x: RiemannianRMSprop([_point(x)], lr=1e-3, rows=0.25),
    "RiemannianMuon": lambda x: RiemannianMuon([_point(x)], lr=1e-3),
}
QR = "geoopt QR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of the chosen parts; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", type=Path, help="also write the seconds to this file")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args(arguments)
    if options.threads < 1 or options.repeats < 1:
        parser.error("--threads and --repeats must be at least 1")
    torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.threads} thread(s), {platform.machine()} with "
        f"{os.cpu_count()} cores, median of {options.repeats} [fastest, slowest]"
    )
    report = {}
    for part in options.parts:
        for title, peer, actions in PARTS[part](options.quick):
            report[title] = _compare(title, actions, peer, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def layers(quick: bool) -> Iterator[Comparison]:
    """Forward and backward of one layer."""
    for size in TINY if quick else SIZES:
        title = f"training step (forward and backward) at {_listed(size)}"
        x = torch.randn(size.T, size.B, size.I)
        yield title, PEER, {name: _layer_step(make(size), x) for name, make in LAYERS.items()}


def packed(quick: bool) -> Iterator[Comparison]:
    """The same over packed sequences whose lengths are uniform in 1...T."""
    for size in TINY if quick else PACKED_SIZES:
        title = f"training step over packed sequences at {_listed(size)}, lengths 1 to T"
        torch.manual_seed(0)
        lengths = torch.randint(1, size.T + 1, (size.B,)).tolist()
        x = pack_sequence([torch.randn(n, size.I) for n in lengths], enforce_sorted=False)
        yield (
            title,
            PEER,
            {
                name: _layer_step(make(size), x)
                for name, make in LAYERS.items()
                if name not in ("nn.GRU", "nn.LSTM")  # which take 6 to 16 s a step there
            },
        )


def optimizers(quick: bool) -> Iterator[Comparison]:
    """One step of one square weight."""
    for n in (8,) if quick else POINT_SIZES:
        steps = {name: _optimizer_step(make, n) for name, make in STEPS.items()}
        yield f"optimizer step of one {n} x {n} weight", GEOOPT, steps


def retractions(quick: bool) -> Iterator[Comparison]:
    """One tangent step u = x a of a square point, every entry of a being about 1e-3."""
    for n in (8,) if quick else RETRACTION_SIZES:
        x = Stiefel().random(n, n).data
        a = 1e-3 * skew(torch.randn(n, n))
        u = x @ a
        actions = {
            QR: partial(geoopt.EuclideanStiefel().retr, x, u),
            "geoopt canonical": partial(geoopt.CanonicalStiefel().retr, x, u),
            "one product": partial(torch.mm, x, a),
            **{f"{name}: {row.cost}": partial(row.turn, x, a, 1.0) for name, row in TABLE},
        }
        yield f"retraction of one {n} x {n} point", QR, actions


PARTS = {
    "layers": layers,
    "packed": packed,
    "optimizers": optimizers,
    "retractions": retractions,
}


def _listed(size: Size) -> str:
    return ", ".join(f"{letter} = {value}" for letter, value in size._asdict().items())


def _point(x: Tensor) -> geoopt.ManifoldParameter:
    return geoopt.ManifoldParameter(x, manifold=Stiefel())


def _layer_step(layer: nn.Module, x: Tensor | PackedSequence) -> Callable[[], None]:
    def step() -> None:
        layer.zero_grad()
        output = layer(x)[0]
        (output.data if isinstance(output, PackedSequence) else output).sum().backward()

    return step


def _optimizer_step(make: Callable[[Tensor], torch.optim.Optimizer], n: int) -> Callable[[], None]:
    torch.manual_seed(0)
    optimizer = make(Stiefel().random(n, n).data)
    optimizer.param_groups[0]["params"][0].grad = torch.randn(n, n)

    def step() -> None:
        optimizer.step()

    return step


def _calls_per_turn(action: Callable[[], object]) -> int:
    """So many that a turn lasts some 20 ms: single calls of 0.1 ms cannot be timed."""
    action()  # warm up
    return max(1, round(TURN / _time(action, 1)))


def _time(action: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        action()
    return time.perf_counter() - began


def _compare(
    title: str, actions: Mapping[str, Callable[[], object]], peer: str, repeats: int
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    calls = {name: _calls_per_turn(action) for name, action in actions.items()}
    for _ in tqdm(range(repeats), desc=title, leave=False, disable=not sys.stderr.isatty()):
        for name, action in actions.items():
            action()  # what the one before left in the caches is not this one's doing
            seconds[name].append(_time(action, calls[name]) / calls[name])
    print(f"\n{title}")
    width = max(32, *map(len, actions))
    of_peer = statistics.median(seconds[peer])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"  {name:<{width}} {1e3 * median:9.2f} ms  [{1e3 * min(values):.2f}, "
            f"{1e3 * max(values):.2f}]  {median / of_peer:5.2f} x {peer}"
        )
    return seconds


if __name__ == "__main__":
    sys.exit(main())
