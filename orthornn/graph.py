"""How ``torch.fx.symbolic_trace`` sees a module: as one call, like the modules of torch."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy


def is_proxy(input: object) -> bool:
    """Whether ``input`` stands for a tensor of a graph that is being traced."""
    return isinstance(input, Proxy)


def call_in_graph(module: nn.Module, input: Any, hx: Any) -> Any:
    """A call of ``module`` in the graph of ``input``; tracing inside fails at the first check."""
    tracer = input.tracer
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (input, hx), {})
