"""The parameters of a recurrence: their start, and how a recurrent weight stays a point."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, TypeVar, overload

import geoopt
import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from .init import INITIALIZERS, identity_
from .manifold import Stiefel
from .precision import at_least_single

Recurrent = TypeVar("Recurrent", bound=type[nn.Module])
M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound=MutableMapping[str, Any])

TOLERANCE = 1e-4  # of a weight that comes from outside; a step of an optimizer mends what is below
RECURRENT = re.compile(r"weight_hh(_l\d+(_reverse)?)?")

# Note [Once a point, always a point]
# A recurrent weight may be replaced behind a module's back in four ways; each is caught where
# torch lets a module take part, and the result is a point of the manifold or an error:
#     assignment (also load_state_dict(assign=True))   __setattr__            becomes a point
#     load_state_dict                                  _load_from_state_dict  checked before copying
#     .to(), .half(), .to_empty(), a new device        _apply                 stays a point, >= f32
#     reset_parameters()                               drawn from the manifold
# Writing into the tensor itself (`weight.data`, `nn.init`) is not seen: see `project_`.


def keeps_points(cls: Recurrent) -> Recurrent:
    """Teach an heir of one of torch's recurrent modules to keep every ``weight_hh*`` a point.

    The class names its manifold by an attribute ``retraction`` and its start by ``init``. See Note
    [Once a point, always a point].
    """
    base: Any = cls.__mro__[1]

    def __setattr__(self: nn.Module, name: str, value: Any) -> None:
        base.__setattr__(self, name, _adopt(self, name, value))

    def _apply(self: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        before = points(self)
        manifolds = {name: p.manifold for name, p in before.items()}
        unreal = [name for name, p in before.items() if p.is_meta]
        for p in before.values():
            if fn(p.new_empty(0)).is_complex():  # asked before anything is moved
                raise TypeError("expected a real dtype for a recurrent weight, got a complex one")
        base._apply(self, _for_points(fn, before), recurse)
        _restore(self, manifolds)
        now = points(self)
        for name in unreal:
            if not now[name].is_meta:
                identity_(now[name])  # its memory is uninitialised; this at least is a point
        return self

    def _load_from_state_dict(
        self: nn.Module, state_dict: MutableMapping[str, Any], prefix: str, *args: Any
    ) -> None:
        manifolds = {}
        for name, p in points(self).items():
            manifolds[name] = p.manifold
            w = state_dict.get(prefix + name)
            if isinstance(w, Tensor) and w.shape == p.shape:
                _check_point(p.manifold, prefix + name, w)  # before anything is copied
        base._load_from_state_dict(self, state_dict, prefix, *args)
        _restore(self, manifolds)

    def reset_parameters(self: nn.Module) -> None:
        """Draw every parameter anew; the recurrent weights are points of the manifold."""
        for name, p in self.named_parameters(recurse=False):
            start(name, p, self.init)  # type: ignore[arg-type]

    for method in (__setattr__, _apply, _load_from_state_dict, reset_parameters):
        setattr(cls, method.__name__, method)
    return cls


@overload
def project_(module: M) -> M: ...


@overload
def project_(module: nn.Module, state_dict: S) -> S: ...


def project_(module: nn.Module, state_dict: Any = None) -> Any:
    """Replace recurrent weights by the nearest orthogonal matrices, their polar factors.

    ``project_(module)`` moves every point of a manifold in ``module`` back onto it, in place:
    after averaging weights (EMA, SWA), or after writing into them. If ``module`` itself is a
    ``torch.nn.RNN`` or ``RNNCell``, its recurrent weights become orthogonal, so that an
    :class:`orthornn.OrthoRNN` can load them.

    ``module.load_state_dict(project_(module, state_dict))`` loads a checkpoint whose recurrent
    weights are not orthogonal: the entries that belong to points of ``module`` are replaced in
    ``state_dict``; the tensors that it held stay as they are.

    Returns:
        ``module``, or ``state_dict`` where one is given.

    Raises:
        torch.linalg.LinAlgError: for a weight with NaN or Inf.
    """
    with torch.no_grad():
        if state_dict is not None:
            for name, p in module.named_parameters(remove_duplicate=False):
                if isinstance(p, ManifoldParameter) and name in state_dict:
                    w = state_dict[name].detach().to(at_least_single(p.dtype))
                    state_dict[name] = p.manifold.projx(w)
            return state_dict
        for p in module.parameters():
            if isinstance(p, ManifoldParameter):
                p.copy_(p.manifold.projx(p))
        if isinstance(module, (nn.RNN, nn.RNNCell)):
            for name, p in module.named_parameters(recurse=False):
                if RECURRENT.fullmatch(name):
                    p.copy_(Stiefel().projx(p.to(at_least_single(p.dtype))))
    return module


def points(module: nn.Module) -> dict[str, ManifoldParameter]:
    """The recurrent weights that ``module`` itself holds as points, by name."""
    return {n: p for n, p in module._parameters.items() if isinstance(p, ManifoldParameter)}


@torch.no_grad()
def start(name: str, p: Tensor, init: str) -> None:
    """Draw a parameter: W by ``init``, V Kaiming normal, biases uniform in ±0.01."""
    if name.startswith("weight_hh"):
        INITIALIZERS[init](p)
    elif name.startswith("weight_ih"):
        p.normal_(0, math.sqrt(2 / max(1, p.shape[1])))
    else:
        p.uniform_(-0.01, 0.01)  # not zero: a unit of ReLU or modReLU would sit on its kink


def add_threshold(module: nn.Module, suffix: str, like: Tensor) -> None:
    """Give ``module`` the bias of a modReLU, one entry for each row of ``like``."""
    name = f"modrelu_bias{suffix}"
    threshold = nn.Parameter(like.detach().new_empty(len(like)))
    start(name, threshold, "")
    module.register_parameter(name, threshold)


def total_bias(module: nn.Module, suffix: str) -> Tensor | None:
    """``b_ih + b_hh``, or None for a module without biases."""
    b_ih: Tensor | None = getattr(module, f"bias_ih{suffix}", None)
    return None if b_ih is None else b_ih + getattr(module, f"bias_hh{suffix}")


def check_choice(name: str, value: object, table: Collection[str]) -> None:
    """Refuse a name that is not in the table, listing those that are."""
    if not isinstance(value, str) or value not in table:
        raise ValueError(f"Unknown {name}: {name} must be one of {sorted(table)}, got {value!r}")


def check_ranges(dropout: float, **sizes: int) -> None:
    """Say what came where torch.nn.RNN's own checks would not; they judge all the rest."""
    for name, size in sizes.items():
        if isinstance(size, int) and size <= 0:
            raise ValueError(f"{name} must be greater than zero, got {size}")
    if isinstance(dropout, (int, float)) and not 0 <= dropout <= 1:
        raise ValueError(
            f"dropout should be a number in range [0, 1] representing the probability of an "
            f"element being zeroed, got {dropout!r}"
        )


def _adopt(module: nn.Module, name: str, value: Any) -> Any:
    """What is to be stored when ``value`` is assigned to the attribute ``name``."""
    if not isinstance(value, nn.Parameter):
        return value
    if hasattr(value, "device_mesh"):
        raise TypeError(
            f"expected {name} to be a whole tensor, got one that is sharded over a device mesh: an "
            f"orthogonal matrix cannot be moved shard by shard. Leave this module out, with "
            f"fully_shard(..., ignored_params=set(rnn.parameters())), and average its gradients, "
            f"or use DistributedDataParallel"
        )
    if not RECURRENT.fullmatch(name):
        return value
    replaced = module._parameters.get(name)
    manifold = getattr(value, "manifold", None) or getattr(replaced, "manifold", None)
    manifold = manifold or Stiefel(module.retraction)  # type: ignore[arg-type]
    if not isinstance(manifold, (Stiefel, geoopt.Stiefel)):
        raise TypeError(f"expected {name} on a Stiefel manifold, got a point of {manifold}")
    if replaced is not None:  # else torch's constructor hands over uninitialised memory
        _check_point(manifold, name, value)
    if not isinstance(value, ManifoldParameter):
        _make_point(value, manifold)
    return value


def _make_point(p: nn.Parameter, manifold: Any) -> None:
    """Turn ``p`` itself into a point: an optimizer may hold this very object."""
    dtype = at_least_single(p.dtype)
    if p.dtype != dtype:
        grad, p.grad = p.grad, None
        p.data = p.data.to(dtype)
        p.grad = None if grad is None else grad.to(dtype)
    manifold.assert_check_point(p)
    if not isinstance(p, FakeTensor):  # of which there are no subclasses
        p.__class__ = ManifoldParameter
    p.manifold = manifold  # type: ignore[attr-defined]


def _restore(module: nn.Module, manifolds: dict[str, Any]) -> None:
    """Make points again of the parameters that torch has replaced by plain ones."""
    for name, manifold in manifolds.items():
        p = module._parameters[name]
        if p is not None and not isinstance(p, ManifoldParameter):
            _make_point(p, manifold)


def _for_points(
    fn: Callable[[Tensor], Tensor], kept: dict[str, ManifoldParameter]
) -> Callable[[Tensor], Tensor]:
    """``fn``, but the points and their gradients stay at least float32."""
    exempt = {id(a): a for p in kept.values() for a in (p, p.grad) if a is not None}

    def guarded(a: Tensor) -> Tensor:
        out = fn(a)
        if id(a) not in exempt:
            return out
        if out.dtype not in (torch.float32, torch.float64):
            out = a.to(out.device, torch.float32)
        return out.detach() if isinstance(out, ManifoldParameter) else out

    return guarded


def _check_point(manifold: Any, name: str, w: Tensor) -> None:
    if w.is_meta or isinstance(w, FakeTensor):
        return
    w = w.detach().to(at_least_single(w.dtype))
    ok, reason = manifold.check_point_on_manifold(w, explain=True, atol=TOLERANCE)
    if not ok:
        raise RuntimeError(
            f"{name} is not orthogonal: {reason}. To take the nearest orthogonal matrix instead, "
            f"project it: module.load_state_dict(orthornn.project_(module, state_dict)), or "
            f"orthornn.project_(rnn) for the torch.nn.RNN it comes from, or "
            f"orthornn.Stiefel().projx(matrix)"
        )
