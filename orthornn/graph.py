"""How the tracers of ``torch.fx`` see a module.

``symbolic_trace`` sees one call, as it does of the modules of torch; ``make_fx`` sees operations.
"""

from __future__ import annotations

from typing import Any

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn
from torch.fx import Proxy
from torch.utils._python_dispatch import _disable_current_modes


def is_proxy(input: object) -> bool:
    """Whether ``input`` stands for a tensor of a graph that is being traced."""
    return isinstance(input, Proxy)


def call_in_graph(module: nn.Module, input: Any, hx: Any) -> Any:
    """A call of ``module`` in the graph of ``input``; tracing inside fails at the first check."""
    tracer = input.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (input, hx), {})


def plain(w: Tensor) -> Tensor:
    """``w`` as a tensor without a subclass while a mode is active that would refuse a point."""
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() == 0:
        return w
    if not isinstance(w, ManifoldParameter):
        return w
    with _disable_current_modes():
        ordinary: Tensor = w.as_subclass(Tensor)
        return ordinary
