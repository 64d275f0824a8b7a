"""Whatever a public callable is given, it works or says in a known exception what is wrong."""

import inspect
import math
import traceback
from pathlib import Path

import geoopt
import pytest
import torch
from torch import nn

import orthornn
from orthornn import (
    OrthoRNN,
    OrthoRNNCell,
    ReflectionRNN,
    Stiefel,
    SwitchedOrthoRNN,
    param_groups,
    project_,
    reduce,
)
from orthornn.init import INITIALIZERS
from orthornn.linalg import orthogonality_error
from tests.peers import outcome

N = 3
HOSTILE = {
    "None": None,
    "text": "x",
    "empty text": "",
    "bytes": b"x",
    "fraction": 1.5,
    "negative": -1,
    "zero": 0,
    "True": True,
    "nan": math.nan,
    "inf": math.inf,
    "complex": 1 + 2j,
    "list": [],
    "tuple": (),
    "dict": {},
    "object": object(),
    "function": lambda x: x,
    "module": nn.Linear(2, 2),
    "dtype": torch.float16,
    "0D": torch.tensor(1.0),
    "1D": torch.randn(2),
    "2D": torch.randn(2, 5),
    "3D": torch.randn(4, 3, 5),
    "empty": torch.zeros(0, 0),
    "nans": torch.full((N, N), math.nan),
    "integers": torch.ones(N, N, dtype=torch.int64),
    "complex tensor": torch.randn(N, N, dtype=torch.complex64),
    "half": torch.randn(N, N, dtype=torch.bfloat16),
    "double": torch.eye(N, dtype=torch.float64),
    "meta": torch.empty(N, N, device="meta"),
    "sparse": torch.eye(N).to_sparse(),
}
every_value = pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
KNOWN = (ValueError, TypeError, RuntimeError, FloatingPointError)

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of some of these, and goes on


def point():
    manifold = Stiefel()
    return geoopt.ManifoldParameter(torch.eye(N), manifold=manifold)


def check(action, oracle=None):
    """``action`` works, raises what is known, or what torch's own ``oracle`` raises."""
    error = outcome(action)
    if error is None:
        return
    if not isinstance(error, KNOWN):
        assert oracle is not None, f"{type(error).__name__}: {error}"
        assert type(error) is type(outcome(oracle)), f"{type(error).__name__}: {error}"
        return
    assert str(error).strip()
    last = traceback.extract_tb(error.__traceback__)[-1]
    if Path(last.filename).parent.name == "orthornn" and (last.line or "").startswith("raise"):
        assert "\n" not in str(error)
        assert len(str(error)) < 600


def options(callable, *skipped):
    return [name for name in inspect.signature(callable).parameters if name not in skipped]


# with the class of torch whose exceptions are known as well
MODULES = {
    OrthoRNN: nn.RNN,
    OrthoRNNCell: nn.RNNCell,
    SwitchedOrthoRNN: nn.RNN,
    ReflectionRNN: nn.RNN,
}


@every_value
@pytest.mark.parametrize("kind", MODULES)
def test_modules_at_construction(kind, value):
    first, second, *_ = options(kind)
    for name in options(kind):
        given = {first: N, second: N, name: value}
        check(lambda given=given: kind(**given))


@every_value
@pytest.mark.parametrize("kind", MODULES)
def test_modules_at_work(kind, value):
    ours, theirs = kind(N, N), MODULES[kind](N, N)
    names = list(ours.state_dict())
    weight = next((name for name in names if "weight_hh" in name), names[0])
    x = torch.randn(N, N)
    if kind is SwitchedOrthoRNN:
        x = torch.randint(N, (N, N))
    check(lambda: ours(value), lambda: theirs(value))
    check(lambda: ours(x, value), lambda: theirs(x, value))
    check(lambda: ours.load_state_dict(value), lambda: theirs.load_state_dict(value))
    state = {**ours.state_dict(), weight: value}
    check(lambda: ours.load_state_dict(state))
    check(lambda: ours.load_state_dict(state, assign=True))
    check(lambda: setattr(ours, weight, value))
    w = getattr(ours, weight)
    if "weight_hh" in weight:
        assert w is None or w.is_meta or orthogonality_error(w).max() < 1e-3


@every_value
@pytest.mark.parametrize("fill", INITIALIZERS.values(), ids=INITIALIZERS)
def test_initializers(fill, value):
    check(lambda: fill(value.clone() if isinstance(value, torch.Tensor) else value))
    check(lambda: fill(torch.empty(N, N), generator=value))
    check(lambda: fill(torch.empty(N, N), determinant=value))
    check(lambda: fill(torch.empty(N, N), value))


METHODS = {
    name: count
    for names, count in (
        (("projx", "random", "origin", "check_point", "assert_check_point"), 1),
        (("inner", "proju", "egrad2rgrad", "retr", "expmap", "logmap", "dist", "retract_skew"), 2),
        (("to_lie_algebra", "from_lie_algebra", "gradient_in_lie_algebra"), 2),
        (("transp", "retr_transp"), 3),
    )
    for name in names
}


@every_value
@pytest.mark.parametrize("name", METHODS)
def test_methods_of_the_manifold(name, value):
    method, x = getattr(Stiefel(), name), torch.eye(N)
    for place in range(METHODS[name]):
        given = [x] * METHODS[name]
        given[place] = value
        check(lambda given=given: method(*given))


@every_value
@pytest.mark.parametrize("kind", [orthornn.Stiefel, orthornn.SpecialOrthogonal])
def test_manifolds_at_construction(kind, value):
    for name in options(kind):
        check(lambda name=name: kind(**{name: value}))
    for name in options(kind.random, "self", "size"):
        check(lambda name=name: kind().random(N, N, **{name: value}))


OPTIMIZERS = [
    getattr(orthornn, name)
    for name in orthornn.__all__
    if inspect.isclass(getattr(orthornn, name))
    and issubclass(getattr(orthornn, name), torch.optim.Optimizer)
]
every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


@every_value
@every_optimizer
def test_optimizers_are_given_anything(kind, value):
    torchs = kind.__mro__[2]
    plain = [nn.Parameter(torch.ones(2))]
    for wrap in (lambda v: v, lambda v: [v], lambda v: [{"params": v}]):
        check(lambda wrap=wrap: kind(wrap(value)), lambda wrap=wrap: torchs(wrap(value)))
    check(lambda: kind([point()]).step(value), lambda: torchs(plain).step(value))
    for method in ("add_param_group", "load_state_dict"):
        check(
            lambda method=method: getattr(kind([point()]), method)(value),
            lambda method=method: getattr(torchs(plain), method)(value),
        )


@every_value
@every_optimizer
def test_optimizers_with_any_option_leave_a_point_a_point(kind, value):
    torchs = kind.__mro__[2]
    for name in options(kind, "params"):
        x = point()
        x.grad = torch.randn(N, N)

        def step(name=name, x=x):
            optimizer = kind([x], **{name: value})
            optimizer.step()
            optimizer.step()

        check(step, lambda name=name: torchs([nn.Parameter(torch.ones(2))], **{name: value}))
        assert orthogonality_error(x) < 1e-5, f"{name} = {value!r}"


@every_value
def test_functions_on_modules(value):
    model = nn.Sequential(OrthoRNN(N, N))
    check(lambda: param_groups(value, lr=0.1))
    for name in options(param_groups, "model"):
        check(lambda name=name: param_groups(model, **{"lr": 0.1, name: value}))
    check(lambda: project_(value))
    check(lambda: project_(model, value))
    check(lambda: project_(model, {"0.weight_hh_l0": value}))
    assert orthogonality_error(model[0].weight_hh_l0) < 1e-5


def test_a_refused_value_is_named_in_a_line_and_a_tensor_by_its_shape():
    with pytest.raises(ValueError, match=r"got a tensor of shape \(2, 3\), torch.float32$"):
        Stiefel(retraction=torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"got \[0, 1, .{60,80}\.\.\.$"):
        Stiefel(retraction=list(range(1000)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: project_(OrthoRNN(N, N), "x"), "project_ expects a state dict, got str"),
        (lambda: project_([]), "project_ expects a torch.nn.Module, got list"),
        (lambda: param_groups(None, lr=1), "param_groups expects a torch.nn.Module, got NoneType"),
        (lambda: orthornn.haar_("x"), "haar_ expects a tensor to fill, got str"),
        (lambda: orthornn.henaff_(HOSTILE["integers"]), "real floating dtype, got torch.int64"),
        (lambda: orthornn.cayley_(HOSTILE["complex tensor"]), "dtype, got torch.complex64"),
        (lambda: Stiefel().retr(1, 2), r"expected a point .* of shape \(..., n, p\), got int"),
        (lambda: Stiefel().dist(torch.eye(N), None), "second argument .* got NoneType"),
    ],
)
def test_what_is_of_another_kind_is_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@every_value
def test_training_in_segments(value):
    rnn, x = OrthoRNN(N, N), torch.randn(7, 2, N)
    check(lambda: orthornn.in_segments(value, x))
    check(lambda: orthornn.in_segments(rnn, value), lambda: rnn(value))
    check(lambda: orthornn.in_segments(rnn, x, value), lambda: nn.RNN(N, N)(x, value))
    check(lambda: orthornn.in_segments(rnn, x, steps=value))
    check(lambda: orthornn.in_segments(rnn, x, read=value))
    check(lambda: orthornn.in_segments(rnn, x, along=[value]))


@every_value
def test_reduction(value):
    rnn = SwitchedOrthoRNN(N, N)
    check(lambda: reduce(value, torch.randint(N, (40, 2))))
    check(lambda: reduce(rnn, value))
    check(lambda: reduce(rnn, torch.randint(N, (40, 2)), threshold=value))
    check(lambda: reduce(rnn, torch.randint(N, (40, 2)), min_gap=value))


def test_no_public_name_is_left_out():
    tested = {kind.__name__ for kind in (*MODULES, *OPTIMIZERS)}
    tested |= {fill.__name__ for fill in INITIALIZERS.values()}
    tested |= {"Stiefel", "SpecialOrthogonal", "in_segments", "param_groups", "project_"}
    tested |= {"backends", "OffManifoldWarning", "Reduction"}  # which take nothing
    tested |= {"reduce"}
    assert tested == set(orthornn.__all__)
    ours = {n for n, f in vars(Stiefel).items() if inspect.isfunction(f) and n[0] != "_"}
    assert ours - METHODS.keys() == {"extra_repr"}
