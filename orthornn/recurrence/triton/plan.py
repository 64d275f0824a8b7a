"""Which of Triton's programs runs a recurrence of a given size on a given GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

PRECISIONS = ("bf16", "ieee", "tf32")

# Note [What fits on the chip]
# A multiprocessor has 256 KiB of registers, and 64 to 227 KiB of shared memory for one program. A
# size that is no power of two is filled up to one, as Triton's blocks must be, so float32 would end
# at 128; M in four parts reaches 192, where it has 72 of a thread's 128 registers. float64 ends at
# 128, bfloat16 at 256, of which 152 KiB are in shared memory. (A tl.dot of float32 would spill: its
# factors are in registers as often as threads need them.)
# tests/recurrence/test_triton_compiled.py has the compiler's word for it.


class Plan(NamedTuple):
    """Which program runs, how many sequences it takes, and what it is compiled for."""

    program: str
    rows: int
    constants: dict[str, Any]
    num_warps: int


class Chip(NamedTuple):
    """What a plan has to know of a GPU."""

    multiprocessors: int
    shared_memory: int
    """Bytes, at most for one program."""


def plan(B: int, H: int, dtype: torch.dtype, precision: str, chip: Chip) -> Plan:
    """The program for B sequences with states of size H."""
    width = max(16, 1 << (H - 1).bit_length())
    double = dtype == torch.float64
    if precision == "ieee":
        if width <= 128:
            return Plan("along_rows", 1, {"P": width, "Q": 0}, width // 16 * (2 if double else 1))
        if H <= 192 and not double:
            return Plan("along_rows", 1, {"P": 128, "Q": 64}, 16)
        # M is read once for four sequences where they would have to queue up
        rows = 1 if chip.multiprocessors >= B else 4
        tile = {"PRECISION": precision, "R": rows, "K": 8 if double else 16, "N": 256}
        return Plan("streaming", rows, tile, 8)
    item, largest, K = (2, 256, 64) if precision == "bf16" else (4, 128, 32)
    needed = item * width**2 + (item + 4) * 16 * width  # M, p and what tl.dot makes of it
    if width <= largest and needed <= chip.shared_memory:
        tile = {"PRECISION": precision, "R": 16, "P": width}
        return Plan("along_tiles", 16, tile, 16 if width == 256 else max(1, width // 32))
    return Plan("streaming", 16, {"PRECISION": precision, "R": 16, "K": K, "N": 128}, 4)
