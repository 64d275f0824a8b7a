"""A recurrent weight that an optimizer has taken off its manifold is told of, once."""

import copy
import pickle
import warnings
from functools import partial

import geoopt
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import orthornn
from orthornn import (
    OffManifoldWarning,
    OrthoRNN,
    OrthoRNNCell,
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    param_groups,
    project_,
)

X = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
STEPS = 17


def train(module, optimizer, steps=STEPS):
    """Some steps, each with a use of the module; the messages of its warnings."""
    cell = isinstance(module, OrthoRNNCell)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(steps):
            optimizer.zero_grad()
            out = module(X[1], module(X[0])) if cell else module(X)[0]
            out.square().sum().backward()
            optimizer.step()
    return [str(warning.message) for warning in told]


class ByData(torch.optim.SGD):
    """Writes past the version of a tensor."""

    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.data.sub_(group["lr"] * p.grad)


FUSED = partial(torch.optim.Adam, fused=True)


@pytest.mark.parametrize(
    "optimizer", [torch.optim.Adam, torch.optim.SGD, torch.optim.AdamW, FUSED, ByData]
)
@pytest.mark.parametrize("make", [OrthoRNN, OrthoRNNCell])
def test_a_plain_optimizer_is_told_of_once(make, optimizer):
    module = make(3, 16)
    (message,) = train(module, optimizer(module.parameters(), lr=1e-2))
    assert message.startswith("weight_hh")
    assert f"of {make.__name__}(3, 16) is no longer orthogonal: ‖xᵀx - I‖ = " in message
    assert "RiemannianAdam(param_groups(" in message


def test_every_layer_and_direction_is_told_of_by_its_name():
    rnn = OrthoRNN(3, 8, num_layers=2, bidirectional=True)
    told = train(rnn, torch.optim.Adam(rnn.parameters(), lr=1e-2))
    names = [message.partition(" ")[0] for message in told]
    assert names == [name for name, _ in rnn.named_parameters() if name.startswith("weight_hh")]


def test_a_weight_that_drifts_off_slowly_is_seen_later():
    rnn = OrthoRNN(3, 16)
    optimizer = torch.optim.Adam(rnn.parameters(), lr=3e-5)
    assert not train(rnn, optimizer, steps=3)
    assert len(train(rnn, optimizer, steps=200)) == 1


@pytest.mark.parametrize(
    "make",
    [
        RiemannianAdam,
        RiemannianMuon,
        RiemannianRMSprop,
        RiemannianSGD,
        geoopt.optim.RiemannianAdam,
        geoopt.optim.RiemannianSGD,
    ],
)
def test_the_optimizers_of_manifolds_are_not_told_of(make):
    rnn = OrthoRNN(3, 16)
    groups = param_groups(rnn, lr=0.1, lr_ortho=0.1)
    if make.__module__.startswith("geoopt"):
        groups = rnn.parameters()
    assert train(rnn, make(groups, lr=0.1)) == []


def test_what_is_put_back_in_time_is_not_told_of_and_what_leaves_again_is():
    rnn = OrthoRNN(3, 16)
    for _ in range(2):
        with torch.no_grad():
            rnn.weight_hh_l0.mul_(2)
        project_(rnn)
        rnn(X)  # a warning is an error here
        with torch.no_grad():
            rnn.weight_hh_l0.mul_(2)
        with pytest.warns(OffManifoldWarning):
            rnn(X)
        rnn(X)


def test_the_first_use_is_looked_at():
    rnn = OrthoRNN(3, 16)
    torch.nn.init.xavier_uniform_(rnn.weight_hh_l0)
    with torch.no_grad(), pytest.warns(OffManifoldWarning):
        rnn(X)


def test_uses_without_a_gradient_count_where_the_weight_has_changed():
    rnn = OrthoRNN(3, 16)
    with torch.no_grad():
        rnn(X)
        rnn.weight_hh_l0.mul_(2)
        with pytest.warns(OffManifoldWarning):
            rnn(X)


def test_a_look_that_cannot_be_made_is_made_later():
    rnn = OrthoRNN(3, 16)
    rnn(X)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(2)
    make_fx(lambda x: rnn(x)[0])(X)
    with pytest.warns(OffManifoldWarning):
        rnn(X)


@pytest.mark.filterwarnings("error::orthornn.OffManifoldWarning")
def test_who_takes_it_for_an_error_gets_one():
    rnn = OrthoRNN(3, 16)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(2)
    with pytest.raises(OffManifoldWarning):
        rnn(X)
    rnn(X)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda rnn: pickle.loads(pickle.dumps(rnn))])
def test_a_copy_is_watched_as_well(copied):
    rnn = OrthoRNN(3, 16)
    rnn(X)
    twin = copied(rnn)
    assert len(train(twin, torch.optim.Adam(twin.parameters(), lr=1e-2))) == 1


def test_looking_costs_a_logarithm_of_the_steps(monkeypatch):
    looks = []
    monkeypatch.setattr(
        "orthornn.nn.off_manifold.checks.check_point", lambda *_: (looks.append(1), (True, None))[1]
    )
    rnn = OrthoRNN(3, 4)
    optimizer = torch.optim.SGD(rnn.parameters(), lr=1e-3)
    train(rnn, optimizer, steps=34)
    with torch.no_grad():
        for _ in range(300):
            rnn(X)  # without a change but for the first
    train(rnn, optimizer, steps=96)
    assert len(looks) == 8  # at the uses 1, 2, 4, ..., 128


@pytest.mark.parametrize(
    "use",
    [
        lambda rnn: make_fx(lambda x: rnn(x)[0])(X),
        lambda rnn: torch.jit.trace(rnn, X, check_trace=False),
        lambda rnn: torch.func.jvp(lambda x: rnn(x)[0], (X,), (X,)),
        lambda rnn: torch.compile(rnn, backend="eager", fullgraph=True)(X),
    ],
    ids=["make_fx", "trace", "jvp", "compile"],
)
@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.torch.jit:DeprecationWarning"
)
def test_who_records_operations_sees_no_look_at_the_weight(use, monkeypatch):
    def refuse(*_):
        raise AssertionError("looked at")

    monkeypatch.setattr("orthornn.nn.off_manifold.checks.check_point", refuse)
    rnn = OrthoRNN(3, 4, backend="autograd")
    use(rnn)
    with pytest.raises(AssertionError, match="looked at"):
        rnn(X)


def test_the_former_name_of_the_warning_is_the_same_class():
    assert orthornn.DepartureWarning is OffManifoldWarning
