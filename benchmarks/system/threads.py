"""How the processor is used: threads by measurement, and no time spent on next to nothing."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator

import torch

TIMED_PRODUCTS = 300
MIN_SPEEDUP = 1.15  # take more threads only for a clear gain: others may want the cores later

# Note [Why to measure]
# A recurrence is a chain of small products, and with n threads every product ends in a barrier.
# On quiet cores two threads gain a little; when another process takes a core, each barrier waits
# for the scheduler and the same step takes twenty times longer. So the products of this very
# model are timed with each count, by their mean, which feels such waits where a median would not.


@contextlib.contextmanager
def flush_denormals() -> Iterator[None]:
    """Within it, numbers below the normal range (1e-38 in float32) are 0 in this thread.

    The gradients of a model without memory vanish into that range within tens of steps, where each
    operation takes a processor ten times as long.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads(batch_size: int, hidden_size: int) -> int:
    """The thread count that runs ``(B, H) @ (H, H)`` products clearly fastest; 1 in doubt.

    Takes a fraction of a second and leaves torch at its former count.
    """
    before = torch.get_num_threads()
    candidates = [n for n in (1, 2, 4, 8, 16) if n <= available_cores()]
    times = {n: _seconds_per_product(n, batch_size, hidden_size) for n in candidates}
    torch.set_num_threads(before)
    best = 1
    for n in candidates[1:]:
        if times[n] * MIN_SPEEDUP < times[best]:
            best = n
    return best


def _seconds_per_product(threads: int, batch_size: int, hidden_size: int) -> float:
    torch.set_num_threads(threads)
    h, w = torch.ones(batch_size, hidden_size), torch.eye(hidden_size)
    durations = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(TIMED_PRODUCTS // 3):
            h = h @ w
        durations.append(time.perf_counter() - began)
    return statistics.fmean(durations[1:]) / (TIMED_PRODUCTS // 3)  # the first round warms up
