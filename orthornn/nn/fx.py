"""How a tracer of ``torch.fx`` sees a module: as one call, like the modules of torch."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy
from torch.fx.proxy import TraceError


def is_proxy(*inputs: object) -> bool:
    """Whether one of the inputs stands for a tensor of a graph that is being traced."""
    return any(isinstance(a, Proxy) for a in inputs)


def call_in_graph(module: nn.Module, input: Any, hx: Any) -> Any:
    """A call of ``module`` in the graph that ``input`` or ``hx`` belongs to.

    Raises:
        TraceError: if ``module`` is the root of the graph, as for torch's own.
    """
    tracer = (input if is_proxy(input) else hx).tracer
    path = tracer.path_of_module(module)
    if not path:
        raise TraceError(
            f"{type(module).__name__} is traced as one call: trace a module that contains it"
        )
    return tracer.create_proxy("call_module", path, (input, hx), {})
