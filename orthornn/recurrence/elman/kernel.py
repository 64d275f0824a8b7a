"""elman.c as a kernel in this process, for a dtype and by one way of making products."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re

import torch

from orthornn.recurrence.cpu.compiler import CannotCompile, macros
from orthornn.recurrence.cpu.kernel import INTEGER, POINTER, Kernel

from .nonlinearity import LEAKY_SLOPE

SOURCE = "elman.c"
AMX, VECTOR = "amx_product.h", "vector_product.h"


class _Call(ctypes.Structure):
    """``Call`` of elman.c, field by field."""

    _fields_ = [
        *(
            (name, INTEGER)
            for name in ("time", "batch", "inputs", "hidden", "threads", "nonlinearity")
        ),
        *((name, POINTER) for name in ("sizes", "starts", "x")),
        *((name, INTEGER) for name in ("x_time", "x_row")),
        *((name, POINTER) for name in ("h0", "modrelu_bias", "states", "factor", "packed", "grad")),
        *((name, INTEGER) for name in ("grad_time", "grad_row")),
        *((name, POINTER) for name in ("carry", "dx", "dw", "db")),
        ("chunk", INTEGER),
    ]


class CompiledKernel(Kernel):
    """One compilation of elman.c: for a dtype, by one way of making products."""

    def __init__(self, dtype: torch.dtype, product: str) -> None:
        """Compile or load it.

        Raises:
            CannotCompile: where there is no compiler, or this processor lacks what is asked for.
        """
        macro_names = r"#define __AMX_?BF16__ ", "#define __AVX512BF16__ "
        if product == AMX and not all(re.search(name, macros()) for name in macro_names):
            raise CannotCompile("the processor or its compiler has no AMX")
        slope = f"((REAL){LEAKY_SLOPE!r})"
        super().__init__(SOURCE, _Call, dtype, LEAKY_SLOPE=slope, PRODUCT=f'"{product}"')
        self.product = product
        try:
            usable, self.lanes = bool(self.code.usable()), int(self.code.lanes())
        except AttributeError as error:
            raise CannotCompile(f"another library lies in the cache: {error}") from error
        if not usable:
            raise CannotCompile("the system does not lend the tiles of AMX")


@functools.cache
def load_kernel(dtype: torch.dtype, product: str | None = None) -> CompiledKernel:
    """The one with these products, or with the fastest that run here (None).

    Raises:
        CannotCompile: where there is none.
    """
    if product is not None:
        return CompiledKernel(dtype, product)
    if dtype == torch.float32:
        with contextlib.suppress(CannotCompile):
            return load_kernel(dtype, AMX)
    return load_kernel(dtype, VECTOR)
