"""A C source as a kernel in this process, for a dtype: its functions take one structure each."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .compiler import CannotCompile, compiled

TYPES = {torch.float32: ("float", "int32_t"), torch.float64: ("double", "int64_t")}
POINTER, INTEGER = ctypes.c_void_p, ctypes.c_int64


class Kernel:
    """One compilation of a C source that lies in this folder.

    Args:
        source: its name.
        call: the structure ``Call`` of the source, of POINTER and INTEGER, field by field.
        dtype: float32 or float64, its ``REAL``; ``INTEGER`` is an integer as wide.
        macros: further ones that it needs.

    Raises:
        CannotCompile: where there is no compiler, or it fails.
    """

    def __init__(
        self, source: str, call: type[ctypes.Structure], dtype: torch.dtype, **macros: str
    ) -> None:
        real, integer = TYPES[dtype]
        self.source = Path(__file__).with_name(source)
        self.code = compiled(self.source, {"REAL": real, "INTEGER": integer, **macros})
        self.call, self.dtype = call, dtype

    def run(self, function: str, **fields: int | Tensor | None) -> None:
        """Call a function of the source by its name; a tensor is handed over as its address.

        Raises:
            MemoryError: without room for its working memory.
        """
        addresses = {k: v.data_ptr() if isinstance(v, Tensor) else v for k, v in fields.items()}
        if getattr(self.code, function)(ctypes.byref(self.call(**addresses))):
            raise MemoryError("a pass of the recurrence was refused its memory, or AMX's tiles")


def why_unavailable(load: Callable[[torch.dtype], Kernel]) -> str | None:
    """Why no kernel can be loaded here; None if it can."""
    try:
        load(torch.float32)
    except CannotCompile as error:
        return str(error)
    return None
