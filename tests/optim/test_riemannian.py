"""Options of groups and points: what is inherited, what is refused, how a model is split."""

import contextlib
import copy

import geoopt
import pytest
import torch
from torch import nn

from orthornn import (
    OrthoRNN,
    OrthoRNNCell,
    RiemannianAdam,
    RiemannianRMSprop,
    RiemannianSGD,
    Stiefel,
    param_groups,
)
from orthornn.linalg import orthogonality_error
from orthornn.manifolds.checks import is_point
from orthornn.manifolds.retractions import RETRACTIONS


def point(*shape, retraction="polar"):
    manifold = Stiefel(retraction)
    return geoopt.ManifoldParameter(manifold.random(*shape).data, manifold=manifold)


@pytest.mark.parametrize("kind", [RiemannianSGD, RiemannianAdam, RiemannianRMSprop])
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
@pytest.mark.parametrize("shape", [(5, 5), (7, 3)], ids=str)
def test_a_huge_gradient_moves_to_a_point_or_not_at_all(kind, retraction, shape):
    for size in (1e2, 1e4, 1e6, 1e10, 1e30):
        x = point(*shape, retraction=retraction)
        x.grad = size * torch.randn_like(x)
        with contextlib.suppress(FloatingPointError):
            kind([x], lr=1.0).step()
        assert orthogonality_error(x) < 1e-5


def test_weight_decay_on_a_point_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"weight_decay must be 0 .* a point cannot shrink"):
        RiemannianAdam([point(4, 4)], weight_decay=0.1)
    optimizer = RiemannianAdam([nn.Parameter(torch.zeros(2))], weight_decay=0.1)
    with pytest.raises(ValueError, match="weight_decay"):
        optimizer.add_param_group({"params": [point(4, 4)]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        (RiemannianAdam, "capturable"),
        (RiemannianAdam, "fused"),
        (RiemannianSGD, "differentiable"),
        (RiemannianRMSprop, "centered"),
    ],
)
def test_flags_that_a_point_cannot_honour_are_refused(kind, option):
    with pytest.raises(ValueError, match=f"{option}=True is not supported"):
        kind([point(4, 4)], **{option: True})


def test_adaptivity_is_checked_at_construction():
    with pytest.raises(ValueError, match=r"one of \[None, 'elementwise', 'scalar'\], got 'entry'"):
        RiemannianAdam([point(4, 4)], adaptivity="entry")
    with pytest.raises(ValueError, match=r"needs square points.*\(5, 3\)"):
        RiemannianAdam([point(5, 3)], adaptivity="elementwise")


@pytest.mark.parametrize(("former", "now"), [("element", "elementwise"), ("matrix", "scalar")])
def test_the_former_name_of_an_adaptivity_is_refused_with_the_new_one(former, now):
    with pytest.raises(ValueError, match=f"adaptivity='{former}' is now called '{now}'"):
        RiemannianAdam([point(4, 4)], adaptivity=former)


def test_groups_added_later_inherit_the_adaptivity():
    x, y = point(4, 4), point(4, 4)
    optimizer = RiemannianAdam([x], adaptivity="scalar")
    optimizer.add_param_group({"params": [y]})
    optimizer = copy.deepcopy(optimizer)
    optimizer.add_param_group({"params": [point(4, 4)]})
    assert [group["adaptivity"] for group in optimizer.param_groups] == ["scalar"] * 3


@pytest.mark.parametrize("theirs", [torch.optim.Adam, geoopt.optim.RiemannianAdam])
def test_the_state_of_another_optimizer_is_refused(theirs):
    x = point(4, 4)
    state = theirs([x]).state_dict()
    with pytest.raises(ValueError, match="expected the state of an orthornn optimizer"):
        RiemannianAdam([x]).load_state_dict(state)


def test_groups_may_have_their_own_adaptivity():
    x, y = point(4, 4), point(4, 4)
    groups = [{"params": [x], "adaptivity": "scalar"}, {"params": [y]}]
    optimizer = RiemannianAdam(groups, adaptivity="elementwise")
    x.grad, y.grad = torch.randn_like(x), torch.randn_like(y)
    optimizer.step()
    assert optimizer.state[x]["exp_avg_sq"].shape == (1, 1)
    assert optimizer.state[y]["exp_avg_sq"].shape == (4, 4)


def test_param_groups_split_a_model():
    model = nn.Sequential(OrthoRNN(3, 4, num_layers=2), nn.Linear(4, 2))
    plain, ortho = param_groups(model, lr=1e-2, lr_ortho=1e-3, weight_decay=0.1)
    assert plain["lr"] == 1e-2
    assert plain["weight_decay"] == 0.1
    assert ortho["lr"] == 1e-3
    assert ortho["weight_decay"] == 0
    assert [p.shape for p in ortho["params"]] == [(4, 4), (4, 4)]
    assert len(plain["params"]) + 2 == len(list(model.parameters()))
    assert param_groups(model, lr=1e-2)[1]["lr"] == pytest.approx(1e-3)
    assert len(param_groups(nn.Linear(2, 2), lr=1.0)) == 1
    decaying = RiemannianAdam(param_groups(model, lr=1e-2), weight_decay=0.5)
    assert [group["weight_decay"] for group in decaying.param_groups] == [0.5, 0.0]
    model[0].weight_hh_l0.requires_grad_(False)
    assert len(param_groups(model, lr=1e-2)[1]["params"]) == 1


@pytest.mark.parametrize(
    "core",
    [
        OrthoRNN(3, 4, num_layers=2, bidirectional=True),
        OrthoRNNCell(3, 4),
        nn.ModuleDict({"modrelu_bias": nn.Sequential(OrthoRNN(3, 4))}),
    ],
    ids=["layers", "cell", "nested"],
)
def test_biases_of_modrelu_can_have_a_step_size_of_their_own(core):
    model = nn.ModuleList([core, nn.Linear(4, 2)])
    names = {id(p): name.rpartition(".")[2] for name, p in model.named_parameters()}
    plain, biases, ortho = param_groups(model, 1e-2, 1e-3, weight_decay=0.1, lr_modrelu=1e-4)
    apart = [name for name in names.values() if name.startswith("modrelu_bias")]
    assert [names[id(p)] for p in biases["params"]] == apart != []
    assert (biases["lr"], biases["weight_decay"]) == (1e-4, 0.1)
    assert (plain["lr"], ortho["lr"]) == (1e-2, 1e-3)
    listed = [id(p) for group in (plain, biases, ortho) for p in group["params"]]
    assert sorted(listed) == sorted(names)
    assert all(is_point(p) for p in ortho["params"])
    assert "weight_decay" not in param_groups(model, 1e-2, lr_modrelu=1e-4)[1]


def test_what_only_looks_like_a_bias_of_modrelu_is_plain():
    model = OrthoRNN(3, 4)
    for name in ("modrelu_bias_scale", "modrelu_bias_l0_raw", "my_modrelu_bias", "modrelu_bias_l"):
        model.register_parameter(name, nn.Parameter(torch.zeros(4)))
    model.modrelu_bias = point(4, 4)
    _, biases, ortho = param_groups(model, 1e-2, lr_modrelu=1e-4)
    assert [id(p) for p in biases["params"]] == [id(model.modrelu_bias_l0)]
    assert {id(p) for p in ortho["params"]} == {id(model.modrelu_bias), id(model.weight_hh_l0)}


def test_a_bias_of_modrelu_with_two_names_is_one():
    rnn = OrthoRNN(3, 4)
    model = nn.Module()
    model.offset, model.rnn = rnn.modrelu_bias_l0, rnn
    _, biases, _ = param_groups(model, 1e-2, lr_modrelu=1e-4)
    assert [id(p) for p in biases["params"]] == [id(rnn.modrelu_bias_l0)]


@pytest.mark.parametrize("name", ["lr", "lr_ortho", "lr_modrelu"])
def test_step_sizes_out_of_their_range_are_refused(name):
    model = OrthoRNN(3, 4)
    for value, kind, told in (
        (-1e-3, ValueError, ">= 0, got -0.001"),
        (float("nan"), ValueError, ">= 0, got nan"),
        (float("inf"), ValueError, ">= 0, got inf"),
        (True, TypeError, "a number or a tensor, got True"),
        ("x", TypeError, "a number or a tensor, got 'x'"),
    ):
        with pytest.raises(kind, match=f"^{name} must be .*{told}"):
            param_groups(model, **{"lr": 1e-3, name: value})
    rates = [group["lr"] for group in param_groups(model, **{"lr": 1.0, "lr_modrelu": 1, name: 0})]
    assert 0 in rates
    param_groups(model, **{"lr": 1e-3, name: torch.tensor(1e-3)})


def test_a_step_size_for_biases_of_modrelu_needs_none():
    model = OrthoRNN(3, 4, nonlinearity="tanh")
    assert [group["lr"] for group in param_groups(model, 1e-2, 1e-3, lr_modrelu=1e-4)] == [
        1e-2,
        1e-3,
    ]
    frozen = OrthoRNN(3, 4)
    frozen.modrelu_bias_l0.requires_grad_(False)
    assert len(param_groups(frozen, 1e-2, lr_modrelu=1e-4)) == 2


@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (3, 7)], ids=str)
@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
def test_the_step_of_sgd_is_the_gradient_of_the_metric(shape, metric):
    manifold = Stiefel(metric=metric)
    x = geoopt.ManifoldParameter(manifold.random(*shape, dtype=torch.float64), manifold=manifold)
    start, g = x.data.clone(), torch.randn_like(x)
    x.grad = g
    RiemannianSGD([x], lr=1e-6).step()
    expected = -manifold.egrad2rgrad(start, g)
    torch.testing.assert_close((x.data - start) / 1e-6, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        manifold.norm(start, (x.data - start) / 1e-6), manifold.norm(start, expected), rtol=0.01,
        atol=0,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (2, 6, 2)], ids=str)
@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
def test_momentum_is_carried_without_loss_of_length(shape, metric):
    manifold = Stiefel(metric=metric)
    x = geoopt.ManifoldParameter(manifold.random(*shape, dtype=torch.float64), manifold=manifold)
    optimizer = RiemannianSGD([x], lr=0.3, momentum=1.0)
    x.grad = torch.randn_like(x)
    gradient = manifold.egrad2rgrad(x.detach(), x.grad)
    length = manifold.norm(x.detach(), gradient)
    optimizer.step()
    for _ in range(20):
        m = optimizer.state[x]["momentum_buffer"]
        manifold.assert_check_vector_on_tangent(x, m, atol=1e-12)
        torch.testing.assert_close(manifold.norm(x.detach(), m), length)
        x.grad = torch.zeros_like(x)
        optimizer.step()


def test_groups_keep_their_own_learning_rates_and_may_come_late():
    x, y, plain = point(4, 4), point(4, 4), nn.Parameter(torch.zeros(2))
    y.data.copy_(x.data)
    optimizer = RiemannianSGD([{"params": [x], "lr": 1e-3}, {"params": [plain]}], lr=0.5)
    optimizer.add_param_group({"params": [y], "lr": 2e-3})
    start, g = x.detach().clone(), torch.randn(4, 4)
    x.grad, y.grad, plain.grad = g, g.clone(), torch.ones(2)
    optimizer.step()
    torch.testing.assert_close((y - start).norm(), 2 * (x - start).norm(), rtol=1e-2, atol=0)
    assert torch.equal(plain.data, torch.full((2,), -0.5))


def test_fused_concerns_the_plain_parameters_of_param_groups():
    model = nn.Sequential(OrthoRNN(3, 4), nn.Linear(4, 2))
    optimizer = RiemannianAdam(param_groups(model, lr=1e-2), fused=True)
    assert [bool(group["fused"]) for group in optimizer.param_groups] == [True, False]
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()
    assert orthogonality_error(model[0].weight_hh_l0) < 1e-5
