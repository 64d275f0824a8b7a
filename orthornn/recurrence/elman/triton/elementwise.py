"""What Triton's kernels do to single numbers: the nonlinearities."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import constexpr  # under this name its interpreter knows an annotation
from triton.language.extra import libdevice

from orthornn.recurrence.elman.nonlinearity import LEAKY_SLOPE

COMPILED = constexpr(not triton.knobs.runtime.interpret)
SLOPE = constexpr(LEAKY_SLOPE)


@triton.jit
def _tanh(z):
    """For the interpreter, which has no library: e/(e + 2) with e = exp(2|z|) - 1.

    e = (u - 1) y / log(u) with u = exp(y): what rounding took from u it takes from log(u) as well,
    so that nothing cancels where y is small (W. Kahan's formula).
    """
    y = tl.minimum(2.0 * tl.abs(z), 50.0)
    u = tl.exp(y)
    flat = u == 1.0
    e = tl.where(flat, y, (u - 1.0) * y / tl.where(flat, 1.0, tl.log(u)))
    size = e / (e + 2.0)
    return tl.where(z != z, z, tl.where(z < 0, -size, size))  # noqa: PLR0124 - of NaN


tanh = libdevice.tanh if COMPILED.value else _tanh


@triton.jit
def nonlinearity(u, b, h, KIND: constexpr, BACK: constexpr):
    """``s(u)``; or, BACK, ``u ds/dz`` from the output h, of the nonlinearity KIND."""
    f = u
    if BACK:
        if KIND == "modrelu":
            f = tl.where(tl.abs(h) <= 0, 0.0, u)
        elif KIND == "relu":
            f = tl.where(h <= 0, 0.0, u)
        elif KIND == "leaky_relu":
            f = tl.where(h > 0, u, u * SLOPE)
        elif KIND == "tanh":
            f = u * (1.0 - h * h)
    elif KIND == "modrelu":
        size = tl.abs(u) + b
        f = tl.where(size <= 0, 0.0, size) * tl.where(u > 0, 1.0, tl.where(u < 0, -1.0, 0.0))
    elif KIND == "relu":
        f = tl.where(u <= 0, 0.0, u)
    elif KIND == "leaky_relu":
        f = tl.where(u > 0, u, u * SLOPE)
    elif KIND == "tanh":
        f = tanh(u)
    return f
