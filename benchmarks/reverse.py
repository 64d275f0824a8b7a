"""States run backward instead of stored: ``python -m benchmarks.reverse [--steps 10000]``.

With W orthogonal and s invertible, ``h_{t-1} = Wᵀ (s⁻¹(h_t) - V x_t)``, so a backward pass could do
without stored states. Shown is how far the states found that way are from the true ones, relative
to them, after so many steps back from the last, in float32. modReLU is invertible where no unit can
be off, with a bias above 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from orthornn import haar_
from orthornn.recurrence import Inputs, Kind, eager
from orthornn.recurrence.nonlinearity import LEAKY_SLOPE

INPUTS, BATCH = 10, 16
BIAS = 0.01

INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda h: h,
    "modrelu": lambda h: h.sign() * (h.abs() - BIAS),
    "leaky_relu": lambda h: torch.where(h > 0, h, h / LEAKY_SLOPE),
    "tanh": torch.atanh,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reverse", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--hidden", type=int, default=190)
    options = parser.parse_args(arguments)
    if options.steps < 1 or options.hidden < 1:
        parser.error("--steps and --hidden must be at least 1")
    marks = [10**k for k in range(1, 9) if 10**k < options.steps] + [options.steps]
    print("  ".join([f"{'steps back':<12}", *(f"{mark:>8,}" for mark in marks)]))
    for name in INVERSES:
        found = errors(name, options.steps, options.hidden, marks)
        print("  ".join([f"{name:<12}", *(f"{found[mark]:8.1e}" for mark in marks)]))
    return 0


@torch.no_grad()
def errors(name: str, steps: int, hidden: int, marks: Sequence[int]) -> dict[int, float]:
    """``‖h - true h‖ / ‖true h‖`` of all states of a step (Frobenius), by steps back."""
    torch.manual_seed(0)
    w, v = haar_(torch.empty(hidden, hidden)), torch.randn(hidden, INPUTS) / hidden**0.5
    x, h0 = torch.randn(steps, BATCH, INPUTS), torch.randn(BATCH, hidden)
    bias = torch.full((hidden,), BIAS) if name == "modrelu" else None
    states = eager.forward(Inputs(x, h0, w, v, None, bias), Kind(name))
    h, found = states[-1], {}
    for t in tqdm(
        reversed(range(steps)), name, steps, leave=False, disable=not sys.stderr.isatty()
    ):
        h = (INVERSES[name](h) - x[t] @ v.t()) @ w
        if steps - t in marks:
            true = states[t - 1] if t else h0
            found[steps - t] = ((h - true).norm() / true.norm()).item()
    return found


if __name__ == "__main__":
    sys.exit(main())
