"""recurrence.c as a kernel in this process, for a dtype and by one way of making products."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from pathlib import Path

import torch
from torch import Tensor

from orthornn.recurrence.nonlinearity import LEAKY_SLOPE

from .compiler import CannotCompile, compiled, macros

SOURCE = Path(__file__).with_name("recurrence.c")
TYPES = {torch.float32: ("float", "int32_t"), torch.float64: ("double", "int64_t")}
AMX, VECTOR = "amx_product.h", "vector_product.h"

_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


class _Call(ctypes.Structure):
    """``Call`` of recurrence.c, field by field."""

    _fields_ = [
        *(
            (name, _INTEGER)
            for name in ("time", "batch", "inputs", "hidden", "threads", "nonlinearity")
        ),
        *((name, _POINTER) for name in ("sizes", "starts", "x")),
        *((name, _INTEGER) for name in ("x_time", "x_row")),
        *(
            (name, _POINTER)
            for name in ("h0", "modrelu_bias", "states", "factor", "packed", "grad")
        ),
        *((name, _INTEGER) for name in ("grad_time", "grad_row")),
        *((name, _POINTER) for name in ("carry", "dx", "dw", "db")),
        ("chunk", _INTEGER),
    ]


class CompiledKernel:
    """One compilation of recurrence.c: for a dtype, by one way of making products."""

    def __init__(self, dtype: torch.dtype, product: str) -> None:
        """Compile or load it.

        Raises:
            CannotCompile: where there is no compiler, or this processor lacks what is asked for.
        """
        macro_names = r"#define __AMX_?BF16__ ", "#define __AVX512BF16__ "
        if product == AMX and not all(re.search(name, macros()) for name in macro_names):
            raise CannotCompile("the processor or its compiler has no AMX")
        real, integer = TYPES[dtype]
        slope = f"((REAL){LEAKY_SLOPE!r})"
        names = {"REAL": real, "INTEGER": integer, "LEAKY_SLOPE": slope, "PRODUCT": f'"{product}"'}
        self.code = compiled(SOURCE, names)
        self.product, self.real = product, real
        try:
            usable, self.lanes = bool(self.code.usable()), int(self.code.lanes())
        except AttributeError as error:
            raise CannotCompile(f"another library lies in the cache: {error}") from error
        if not usable:
            raise CannotCompile("the system does not lend the tiles of AMX")

    def run(self, function: str, **fields: int | Tensor | None) -> None:
        """Call ``forward`` or ``backward``.

        Raises:
            MemoryError: without room for its working memory.
        """
        call = _Call(**{k: v.data_ptr() if isinstance(v, Tensor) else v for k, v in fields.items()})
        if getattr(self.code, function)(ctypes.byref(call)):
            raise MemoryError("a pass of the recurrence was refused its memory, or AMX's tiles")


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
