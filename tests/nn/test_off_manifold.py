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
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    param_groups,
    project_,
)
from tests.nn.cases import POINTS, case_of, every, every_module_with_points

X = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
STEPS = 17


def train(module, optimizer, steps=STEPS):
    """Some steps, each with a use of the module; the messages of its warnings."""
    make = case_of(module)
    x = torch.arange(10).view(5, 2) % 3 if make.takes_tokens else X
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(steps):
            optimizer.zero_grad()
            out = module(x[1], module(x[0])) if make.is_cell else module(x)[0]
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
@every_module_with_points
def test_a_plain_optimizer_is_told_of_once(make, optimizer):
    module = make(3, 16)
    (message,) = train(module, optimizer(module.parameters(), lr=1e-2))
    assert message.startswith("weight_hh")
    assert f"of {make.kind.__name__}(3, 16) is no longer orthogonal: ‖xᵀx - I‖ = " in message
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
    "optimizer",
    [
        RiemannianAdam,
        RiemannianMuon,
        RiemannianRMSprop,
        RiemannianSGD,
        geoopt.optim.RiemannianAdam,
        geoopt.optim.RiemannianSGD,
    ],
)
@every({name: POINTS[name] for name in ("OrthoRNN", "switched, all options")})
def test_the_optimizers_of_manifolds_are_not_told_of(optimizer, make):
    rnn = make(3, 16)
    groups = param_groups(rnn, lr=0.1, lr_ortho=0.1)
    if optimizer.__module__.startswith("geoopt"):
        groups = rnn.parameters()
    assert train(rnn, optimizer(groups, lr=0.1)) == []


def double_(module):
    """Take every recurrent weight off its manifold."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.startswith("weight_hh"):
                p.mul_(2)


def an_input(make):
    return make.draw(*([2] if make.is_cell else [5, 2]))


@every_module_with_points
def test_what_is_put_back_in_time_is_not_told_of_and_what_leaves_again_is(make):
    module, x = make(3, 16), an_input(make)
    for _ in range(2):
        double_(module)
        project_(module)
        module(x)  # a warning is an error here
        double_(module)
        with pytest.warns(OffManifoldWarning):
            module(x)
        module(x)


@every_module_with_points
def test_the_first_use_is_looked_at(make):
    module = make(3, 16)
    double_(module)
    with torch.no_grad(), pytest.warns(OffManifoldWarning):
        module(an_input(make))


@every_module_with_points
def test_one_matrix_that_has_left_is_enough(make):
    module = make(3, 16)
    with torch.no_grad():
        next(p for n, p in module.named_parameters() if "weight_hh" in n)[-1].mul_(2)
    with pytest.warns(OffManifoldWarning, match="no longer orthogonal"):
        module(an_input(make))


@every_module_with_points
def test_uses_without_a_gradient_count_where_the_weight_has_changed(make):
    module, x = make(3, 16), an_input(make)
    with torch.no_grad():
        module(x)
        double_(module)
        with pytest.warns(OffManifoldWarning):
            module(x)


@every_module_with_points
def test_a_look_that_cannot_be_made_is_made_later(make):
    module, x = make(3, 16), an_input(make)
    module(x)
    double_(module)
    make_fx(lambda x: module(x)[0])(x)
    with pytest.warns(OffManifoldWarning):
        module(x)


@pytest.mark.filterwarnings("error::orthornn.OffManifoldWarning")
def test_who_takes_it_for_an_error_gets_one():
    rnn = OrthoRNN(3, 16)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(2)
    with pytest.raises(OffManifoldWarning):
        rnn(X)
    rnn(X)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda rnn: pickle.loads(pickle.dumps(rnn))])
@every_module_with_points
def test_a_copy_is_watched_as_well(copied, make):
    rnn = make(3, 16)
    rnn(an_input(make))
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
        lambda rnn, x, h: make_fx(lambda x: rnn(x)[0])(x),
        lambda rnn, x, h: torch.jit.trace(rnn, x, check_trace=False),
        lambda rnn, x, h: torch.func.jvp(lambda h: rnn(x, h)[0], (h,), (h,)),
        lambda rnn, x, h: torch.compile(rnn, backend="eager", fullgraph=True)(x),
    ],
    ids=["make_fx", "trace", "jvp", "compile"],
)
@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.torch.jit:DeprecationWarning"
)
@every({name: POINTS[name] for name in ("OrthoRNN", "switched")})
def test_who_records_operations_sees_no_look_at_the_weight(make, use, monkeypatch):
    def refuse(*_):
        raise AssertionError("looked at")

    monkeypatch.setattr("orthornn.nn.off_manifold.checks.check_point", refuse)
    rnn, x = make(3, 4, backend="autograd"), make.draw(5, 2)
    use(rnn, x, make.draw_state(2, hidden_size=4))
    with pytest.raises(AssertionError, match="looked at"):
        rnn(x)


def test_the_former_name_of_the_warning_is_the_same_class():
    assert orthornn.DepartureWarning is OffManifoldWarning
