"""All that this library asks of torch behind its public interface, in one place.

Tested with the version in ``constraints.txt``; a test keeps private names out of the other files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn import Parameter
from torch.utils._python_dispatch import _disable_current_modes

Function = TypeVar("Function", bound=Callable[..., Any])


def functorch_active() -> bool:
    """Whether a transform of ``torch.func`` (grad, vmap, jvp, ...) is at work."""
    active: bool = torch._C._are_functorch_transforms_active()
    return active


def is_batched(grad: Tensor) -> bool:
    """Whether ``grad`` may stand for a batch: torch.vmap, or autograd's ``is_grads_batched``."""
    return functorch_active() or torch._C._functorch.is_legacy_batchedtensor(grad)


def is_traced_or_transformed() -> bool:
    """Whether a tracer or a transform is active, so that no kernel of this library may run.

    ``torch.export``, ``make_fx``, ``torch.jit.trace``, ``torch.func``, forward-mode derivatives.
    ``torch.compile`` does not; its compiler takes an operator as it is.
    """
    if torch.compiler.is_exporting() or functorch_active():
        return True
    if torch.compiler.is_compiling():
        return False
    return (
        forward_ad._current_level >= 0 or get_proxy_mode() is not None or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def disable_dynamo(function: Function) -> Function:
    """``torch.compiler.disable``, but the compiler is imported at the first call, not with us.

    Its import takes over half as long as that of torch and geoopt together. torch does the same to
    its optimizers.
    """
    return cast(Function, _disable_dynamo(function))


def dispatch_mode_active() -> bool:
    """Whether a ``TorchDispatchMode`` sees every operation; none does inside ``torch.compile``."""
    return not torch.compiler.is_compiling() and torch._C._len_torch_dispatch_stack() > 0


def as_plain_tensor(a: Tensor) -> Tensor:
    """``a`` as an ordinary tensor, differentiably, unseen by any mode that is active."""
    with _disable_current_modes():
        plain: Tensor = a.as_subclass(Tensor)
        return plain


def is_ordinary_tensor(a: Tensor) -> bool:
    """Whether ``a`` is a strided tensor or Parameter, of no other subclass, without a negative bit.

    Then its numbers lie in memory as they are. Those of the imaginary part of a conjugate have the
    other sign there.
    """
    ordinary = type(a) is Tensor or (isinstance(a, Parameter) and not is_fake(a))
    return ordinary and not a.is_neg() and a.layout == torch.strided


@contextlib.contextmanager
def no_dispatch_modes() -> Iterator[None]:
    """Inside, no dispatch mode sees an operation, and no gradient is recorded."""
    with _disable_current_modes(), torch.no_grad():
        yield


def is_fake(a: object) -> bool:
    """Whether ``a`` is a tensor of a ``FakeTensorMode``, which has a shape and no values."""
    return isinstance(a, FakeTensor)
