"""Which of Triton's kernels runs a recurrence of a given size on a given GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

# Note [What fits on the chip]
# A multiprocessor has 256 KiB of registers. A size that is no power of two is filled up to one, as
# Triton's blocks must be, so float32 would end at 128; M in four parts reaches 192, where it has
# 72 of a thread's 128 registers. float64 ends at 128. (A tl.dot of float32 would spill: its factors
# are in registers as often as threads need them.)
# tests/recurrence/test_triton_compiled.py has the compiler's word for it.


class LaunchConfig(NamedTuple):
    """Which kernel runs, how many sequences a program takes, and what it is compiled for."""

    kernel: str
    rows: int
    constants: dict[str, Any]
    num_warps: int


def launch_config(B: int, H: int, dtype: torch.dtype, multiprocessors: int) -> LaunchConfig:
    """The launch for B sequences with states of size H."""
    width = max(16, 1 << (H - 1).bit_length())
    double = dtype == torch.float64
    if width <= 128:
        num_warps = width // 16 * (2 if double else 1)
        return LaunchConfig("recurrence_vector_kernel", 1, {"P": width, "Q": 0}, num_warps)
    if H <= 192 and not double:
        return LaunchConfig("recurrence_vector_kernel", 1, {"P": 128, "Q": 64}, 16)
    # M is read once for four sequences where they would have to queue up
    rows = 1 if multiprocessors >= B else 4
    tile = {"R": rows, "K": 8 if double else 16, "N": 256}
    return LaunchConfig("recurrence_streaming_kernel", rows, tile, 8)
