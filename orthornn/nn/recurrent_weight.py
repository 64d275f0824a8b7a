"""How a recurrent weight stays a point of its manifold, whatever is done to its module."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from types import NoneType
from typing import Any, TypeVar, overload

import geoopt
import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn

from orthornn._torch_internals import as_plain_tensor, dispatch_mode_active, is_fake
from orthornn.init import identity_
from orthornn.manifolds.matrix_methods import check_matrix
from orthornn.manifolds.stiefel import Stiefel

from .off_manifold import CHECKED_WEIGHTS, warn_off_manifold
from .parameters import RECURRENT_WEIGHT
from .precision import at_least_float32, refuse_complex

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound=MutableMapping[str, Any])

TOLERANCE = 1e-4  # of a weight that comes from outside; a step of an optimizer mends what is below

# Note [Once a point, always a point]
# A recurrent weight may be replaced behind a module's back in these ways; each is caught where
# torch lets a module take part, and the result is a point of the manifold or an error:
#     assignment (also load_state_dict(assign=True))   __setattr__, register_parameter
#     deletion, by parametrizations and FSDP           __delattr__
#     load_state_dict                                  _load_from_state_dict
#     .to(), .half(), .to_empty(), a new device        _apply
#     reset_parameters()                               drawn from the manifold
# Writing into the tensor itself (`weight.data`, `nn.init`, an optimizer of torch.optim) is not
# hindered; orthornn.nn.off_manifold warns of it where the weight is used: see `project_`.


class OrthogonalWeights(nn.Module):
    """Keeps every ``weight_hh*`` a point; stands before one of torch's recurrent modules.

    The class has attributes ``hidden_size`` and ``retraction``, and ``weight_axes`` where a weight
    is not one matrix. See Note [Once a point, always a point].
    """

    hidden_size: int
    retraction: str
    determinant: int | None = None
    weight_axes: tuple[int, ...] = ()
    """Those of a recurrent weight before its rows and columns."""
    gain: float = 1.0
    learn_gain: bool = False

    @property
    def manifold(self) -> Stiefel:
        """That of a recurrent weight that comes without one."""
        return Stiefel(self.retraction, determinant=self.determinant)

    def __setattr__(self, name: str, value: Any) -> None:
        _accept_weight(self, name, value)
        super().__setattr__(name, value)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter, a recurrent weight as a point."""
        _accept_weight(self, name, param)
        super().register_parameter(name, param)

    def __delattr__(self, name: str) -> None:
        if name in recurrent_weights(self):
            raise TypeError(
                f"{name} cannot be taken out of the module, as a parametrization or "
                f"FullyShardedDataParallel would do: it is a point of "
                f"{recurrent_weights(self)[name].manifold} and has to stay one (leave the module "
                f"out, with ignored_modules=[rnn], or use DistributedDataParallel)"
            )
        super().__delattr__(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        before = recurrent_weights(self)
        manifolds = {name: p.manifold for name, p in before.items()}
        for p in before.values():
            refuse_complex(fn, p)
        unfilled: set[str] = set()
        super()._apply(_keep_float32(fn, before, unfilled), recurse)  # type: ignore[no-untyped-call]
        _restore_manifolds(self, manifolds)
        for name in unfilled:
            p = recurrent_weights(self)[name]
            if not _check(manifolds[name], p)[0]:
                # to_empty() left whatever was in memory; this at least is a point
                identity_(p, determinant=getattr(manifolds[name], "determinant", None))
        return self

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *args: Any
    ) -> None:
        hooks = self._load_state_dict_pre_hooks
        for hook in hooks.values():  # which may still change, or project, what is loaded
            hook(state_dict, prefix, *args)
        manifolds = {name: p.manifold for name, p in recurrent_weights(self).items()}
        for name, p in recurrent_weights(self).items():
            w = state_dict.get(prefix + name)
            if isinstance(w, Tensor) and w.shape == p.shape:  # else torch says what is wrong
                _require_point(p.manifold, prefix + name, w)  # before anything is copied
        self._load_state_dict_pre_hooks = OrderedDict()
        try:
            super()._load_from_state_dict(state_dict, prefix, *args)
        finally:
            self._load_state_dict_pre_hooks = hooks
        _restore_manifolds(self, manifolds)

    def _read_weight(self, name: str) -> Tensor:
        """The recurrent weight ``name`` to compute with; warns where it is not orthogonal."""
        w = getattr(self, name)
        warn_off_manifold(self, name, w)
        # where a dispatch mode of torch's would refuse the subclass
        plain = dispatch_mode_active() and isinstance(w, ManifoldParameter)
        w = as_plain_tensor(w) if plain else w
        return w if self.gain == 1 and not self.learn_gain else self._gain_of(name, w.dtype) * w

    def _gain_text(self) -> str:
        """What a repr shows of the gain."""
        learned = ", learn_gain=True" if self.learn_gain else ""
        return f", gain={self.gain}{learned}" if self.learn_gain or self.gain != 1 else ""

    def _gain_of(self, name: str, dtype: torch.dtype) -> Tensor | float:
        """What multiplies the recurrent weight ``name`` where it is used."""
        if not self.learn_gain:
            return self.gain
        learned: Tensor = getattr(self, name.replace("weight_hh", "gain_hh"))
        return learned.to(dtype)


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
        TypeError: for what is not a module, or not a dictionary of tensors.
        ValueError: for an entry of ``state_dict`` that is not a matrix.
        torch.linalg.LinAlgError: for a weight with NaN or Inf.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"project_ expects a torch.nn.Module, got {type(module).__name__}")
    if not isinstance(state_dict, (MutableMapping, NoneType)):
        raise TypeError(f"project_ expects a state dict, got {type(state_dict).__name__}")
    with torch.no_grad():
        if state_dict is not None:
            for name, p in module.named_parameters(remove_duplicate=False):
                if isinstance(p, ManifoldParameter) and name in state_dict:
                    check_matrix(name, state_dict[name])
                    w = state_dict[name].detach()
                    state_dict[name] = p.manifold.projx(w.to(at_least_float32(w.dtype)))
            return state_dict
        for p in module.parameters():
            if isinstance(p, ManifoldParameter) and not p.is_meta:
                p.copy_(p.manifold.projx(p))
        for part in module.modules():
            part.__dict__.pop(CHECKED_WEIGHTS, None)
        if isinstance(module, (nn.RNN, nn.RNNCell)):
            for name, p in module.named_parameters(recurse=False):
                if RECURRENT_WEIGHT.fullmatch(name):
                    p.copy_(Stiefel().projx(p.to(at_least_float32(p.dtype))))
    return module


def recurrent_weights(module: nn.Module) -> dict[str, ManifoldParameter]:
    """The recurrent weights that ``module`` itself holds as points, by name."""
    return {n: p for n, p in module._parameters.items() if isinstance(p, ManifoldParameter)}


def _accept_weight(module: Any, name: str, value: Any) -> None:
    """Make a point of a parameter that is about to become the recurrent weight ``name``."""
    if not isinstance(value, nn.Parameter):
        return
    if hasattr(value, "device_mesh"):
        raise TypeError(
            f"expected {name} to be a whole tensor, got one that is sharded over a device mesh: an "
            f"orthogonal matrix cannot be moved shard by shard. Leave this module out, with "
            f"fully_shard(..., ignored_params=set(rnn.parameters())), and average its gradients, "
            f"or use DistributedDataParallel"
        )
    if not RECURRENT_WEIGHT.fullmatch(name):
        return
    replaced = module._parameters.get(name)
    manifold = getattr(value, "manifold", None) or getattr(replaced, "manifold", None)
    manifold = manifold or module.manifold
    if not isinstance(manifold, (Stiefel, geoopt.Stiefel)):
        raise TypeError(f"expected {name} on a Stiefel manifold, got a point of {manifold}")
    if name in module._parameters:  # else torch's constructor hands over uninitialised memory
        shape = (*module.weight_axes, module.hidden_size, module.hidden_size)
        if value.shape != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {tuple(value.shape)}")
        _require_point(manifold, name, value)
    if not isinstance(value, ManifoldParameter):
        _to_manifold_parameter(value, manifold)


def _to_manifold_parameter(p: nn.Parameter, manifold: Any) -> None:
    """Turn ``p`` itself into a point: an optimizer may hold this very object."""
    dtype = at_least_float32(p.dtype)
    if p.dtype != dtype:
        grad, p.grad = p.grad, None
        p.data = p.data.to(dtype)
        p.grad = None if grad is None else grad.to(dtype)
    manifold.assert_check_point(p)
    if not is_fake(p):  # of which there are no subclasses
        p.__class__ = ManifoldParameter
    p.manifold = manifold  # type: ignore[attr-defined]


def _restore_manifolds(module: nn.Module, manifolds: dict[str, Any]) -> None:
    """Make points again of the parameters that torch has replaced by plain ones."""
    for name, manifold in manifolds.items():
        p = module._parameters[name]
        if p is not None and not isinstance(p, ManifoldParameter):
            _to_manifold_parameter(p, manifold)


def _keep_float32(
    fn: Callable[[Tensor], Tensor], kept: dict[str, ManifoldParameter], unfilled: set[str]
) -> Callable[[Tensor], Tensor]:
    """``fn``, but the points and their gradients stay at least float32.

    The names of points for which ``fn`` gives memory with other values go into ``unfilled``.
    """
    names = {id(p): name for name, p in kept.items()}
    exempt = {id(a): a for p in kept.values() for a in (p, p.grad) if a is not None}

    def guarded(a: Tensor) -> Tensor:
        out = fn(a)
        if id(a) not in exempt:
            return out
        if out.dtype not in (torch.float32, torch.float64):
            out = a.to(out.device, torch.float32)
        if id(a) in names and _is_materialized(out) and not _is_conversion(out, a):
            unfilled.add(names[id(a)])
        return out.detach() if isinstance(out, ManifoldParameter) else out

    return guarded


def _is_conversion(out: Tensor, a: Tensor) -> bool:
    """Whether ``out`` is ``a`` in its own dtype and on its own device."""
    return out is a or (_is_materialized(a) and torch.equal(out, a.to(out.device, out.dtype)))


def _is_materialized(w: Tensor) -> bool:
    return not w.is_meta and not is_fake(w)


def _check(manifold: Any, w: Tensor) -> tuple[bool, str]:
    """Whether ``w``, in whatever precision it comes, is a point, and why not."""
    if w.is_floating_point():
        w = w.detach().double()
    judge = manifold if isinstance(manifold, Stiefel) else Stiefel()  # which says by how much
    ok, reason = judge.check_point_on_manifold(w, explain=True, atol=TOLERANCE)
    return ok, reason or ""


def _require_point(manifold: Any, name: str, w: Tensor) -> None:
    ok, reason = _check(manifold, w) if _is_materialized(w) else (True, "")
    if not ok:
        what = "orthogonal" if "‖" in reason else f"a point of {manifold}"
        raise RuntimeError(
            f"{name} is not {what}: {reason}. To take the nearest orthogonal matrix instead, "
            f"project it: module.load_state_dict(orthornn.project_(module, state_dict)), or "
            f"orthornn.project_(rnn) for the torch.nn.RNN it comes from, or "
            f"orthornn.Stiefel().projx(matrix)"
        )
