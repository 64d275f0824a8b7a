"""What a step does about input that is not finite, huge, sparse or scaled: nothing is damaged."""

import geoopt
import pytest
import torch
from torch import nn

from orthornn import (
    RiemannianAdam,
    RiemannianMuon,
    RiemannianRMSprop,
    RiemannianSGD,
    Stiefel,
    param_groups,
)
from orthornn.linalg import orthogonality_error
from orthornn.manifolds.retractions import RETRACTIONS

MODES = {
    "sgd": (RiemannianSGD, {"lr": 0.1}),
    "sgd, momentum": (RiemannianSGD, {"lr": 0.1, "momentum": 0.9}),
    "sgd, nesterov": (RiemannianSGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (RiemannianAdam, {"lr": 0.1}),
    "adam, amsgrad": (RiemannianAdam, {"lr": 0.1, "amsgrad": True}),
    "adam, scalar": (RiemannianAdam, {"lr": 0.1, "adaptivity": "scalar"}),
    "rmsprop": (RiemannianRMSprop, {"lr": 0.1}),
    "rmsprop, momentum": (RiemannianRMSprop, {"lr": 0.1, "momentum": 0.5}),
    "rmsprop, scalar": (RiemannianRMSprop, {"lr": 0.1, "adaptivity": "scalar"}),
    "sgd, rows": (RiemannianSGD, {"lr": 0.1, "rows": 2}),
    "rmsprop, rows": (RiemannianRMSprop, {"lr": 0.1, "momentum": 0.5, "rows": 0.5}),
    "muon": (RiemannianMuon, {"lr": 0.1}),
}
SQUARE_ONLY = ("sgd, rows", "rmsprop, rows", "muon")
every_mode = pytest.mark.parametrize("mode", MODES)
every_shape = pytest.mark.parametrize("shape", [(6, 6), (5, 5), (7, 3), (3, 7), (2, 4, 4)], ids=str)
BAD = {"nan": float("nan"), "inf": float("inf"), "-inf": -float("inf")}


def point(*shape, dtype=torch.float32, retraction="polar"):
    manifold = Stiefel(retraction)
    return geoopt.ManifoldParameter(manifold.random(*shape, dtype=dtype).data, manifold=manifold)


def make(mode, params, **options):
    kind, defaults = MODES[mode]
    if mode in SQUARE_ONLY and any(len({*p.shape[-2:]}) == 2 for p in params if p.ndim > 1):
        pytest.skip("square points only")
    return kind(params, **{**defaults, **options})


def snapshot(optimizer, x):
    state = optimizer.state.get(x, {})
    return [x.detach().clone(), *(value.clone() for value in state.values())]


def primed(mode, x, **options):
    optimizer = make(mode, [x], **options)
    x.grad = torch.randn_like(x)
    optimizer.step()
    return optimizer


@every_mode
@every_shape
@pytest.mark.parametrize("bad", BAD)
def test_a_gradient_that_is_not_finite_is_refused_before_anything_moves(mode, shape, bad):
    x, plain = point(*shape), nn.Parameter(torch.ones(3))
    optimizer = primed(mode, x)
    optimizer.add_param_group({"params": [plain]})
    x.grad, plain.grad = torch.randn_like(x), torch.ones(3)
    x.grad[..., 0, 1] = BAD[bad]
    before = snapshot(optimizer, x)
    with pytest.raises(FloatingPointError, match="is not finite; no parameter was moved"):
        optimizer.step()
    assert all(map(torch.equal, snapshot(optimizer, x), before))
    assert torch.equal(plain.data, torch.ones(3))


@every_mode
@every_shape
@pytest.mark.parametrize("bad", BAD)
def test_such_a_point_is_skipped_on_demand_and_the_others_move(mode, shape, bad):
    x, y, plain = point(*shape), point(*shape), nn.Parameter(torch.ones(3))
    optimizer = primed(mode, x, on_nonfinite="skip")
    optimizer.add_param_group({"params": [plain, y]})
    x.grad, y.grad, plain.grad = torch.randn_like(x), torch.randn_like(y), torch.ones(3)
    x.grad[..., 0, 1] = BAD[bad]
    before, beside = snapshot(optimizer, x), y.detach().clone()
    optimizer.step()
    assert all(map(torch.equal, snapshot(optimizer, x), before))
    assert not torch.equal(y, beside)
    assert not torch.equal(plain.data, torch.ones(3))
    x.grad = torch.randn_like(x)
    optimizer.step()
    assert not torch.equal(x, before[0])


@every_mode
@every_shape
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
@pytest.mark.parametrize("size", [1e10, 1e20, 1e30, 1e38])
def test_a_huge_gradient_damages_neither_point_nor_moments(mode, shape, retraction, size):
    x = point(*shape, retraction=retraction)
    square = shape[-1] == shape[-2]
    determinant = torch.linalg.det(x.detach()).round() if square else 0
    optimizer = primed(mode, x)
    x.grad = size * torch.randn_like(x).clamp(-3, 3)
    optimizer.step()
    assert orthogonality_error(x).max() < 2e-6
    assert all(value.isfinite().all() for value in optimizer.state[x].values())
    for _ in range(3):
        x.grad = torch.randn_like(x)
        optimizer.step()
    assert orthogonality_error(x).max() < 2e-6
    if square:
        assert torch.equal(torch.linalg.det(x.detach()).round(), torch.as_tensor(determinant))


def test_a_huge_step_goes_as_far_as_the_manifold_is_wide():
    """Not farther: the direction is kept, the length is cut to π√p."""
    x = point(6, 6, dtype=torch.float64)
    start, a = x.detach().clone(), torch.randn(6, 6, dtype=torch.float64)
    a = a - a.mT
    x.grad = 1e12 * start @ a
    RiemannianSGD([x], lr=1.0).step()
    cut = -torch.pi * 6**0.5 * a / a.norm()
    torch.testing.assert_close(x.detach(), Stiefel().retr(start, start @ cut))


def test_the_error_names_the_parameter():
    x = point(4, 4)
    x.grad = torch.full_like(x, torch.nan)
    optimizer = RiemannianAdam([("rnn.weight_hh_l0", x)])
    with pytest.raises(FloatingPointError, match=r"'rnn.weight_hh_l0' of shape \(4, 4\)"):
        optimizer.step()


@every_mode
@pytest.mark.parametrize("lr", [float("nan"), float("inf")])
def test_a_learning_rate_that_is_not_finite_is_refused(mode, lr):
    x = point(4, 4)
    with pytest.raises(ValueError, match=r"(Invalid learning rate|lr must be finite)"):
        make(mode, [x], lr=lr)
    with pytest.raises(ValueError, match=r"(Invalid learning rate|lr must be finite)"):
        make(mode, [nn.Parameter(torch.ones(2))], lr=lr)
    optimizer = make(mode, [x])
    optimizer.param_groups[0]["lr"] = lr  # a scheduler's work
    x.grad, before = torch.randn_like(x), x.detach().clone()
    with pytest.raises(ValueError, match="lr must be finite"):
        optimizer.step()
    assert torch.equal(x, before)


@every_mode
def test_a_learning_rate_may_be_a_tensor(mode):
    x = point(4, 4)
    y = geoopt.ManifoldParameter(x.detach().clone(), manifold=Stiefel())
    x.grad = y.grad = torch.randn_like(x)
    make(mode, [x], lr=torch.tensor(0.01), foreach=False).step()
    make(mode, [y], lr=0.01).step()
    torch.testing.assert_close(x.data, y.data)


@every_mode
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_points_of_other_dtypes_are_refused_by_name(mode, dtype):
    x = point(4, 4)
    optimizer = make(mode, [x])
    x.data = x.data.to(dtype)  # what module.half() does
    x.grad = torch.ones_like(x)
    with pytest.raises(ValueError, match=f"got {dtype}"):
        optimizer.step()
    with pytest.raises(ValueError, match=f"got {dtype}"):
        make(mode, [x])


@every_mode
def test_an_option_set_later_is_refused_at_the_step(mode):
    x = point(4, 4)
    optimizer = make(mode, [x])
    optimizer.param_groups[0]["weight_decay"] = 0.1
    x.grad, before = torch.randn_like(x), x.detach().clone()
    with pytest.raises(ValueError, match="weight_decay must be 0"):
        optimizer.step()
    assert torch.equal(x, before)


@every_mode
def test_an_eps_of_zero_is_refused_where_it_would_divide_zero_by_zero(mode):
    if "sgd" not in mode and mode != "muon":
        with pytest.raises(ValueError, match="eps must be positive"):
            make(mode, [point(4, 4)], eps=0.0)


@every_mode
def test_sparse_gradients_are_refused(mode):
    x = point(4, 4)
    x.grad = torch.eye(4).to_sparse()
    with pytest.raises(RuntimeError, match="sparse gradients are not supported"):
        make(mode, [x]).step()


@every_mode
@pytest.mark.parametrize("bad", [False, True])
def test_grad_scaler_works_and_skips_an_overflow(mode, bad):
    x, plain = point(4, 4), nn.Parameter(torch.ones(3))
    y = geoopt.ManifoldParameter(x.detach().clone(), manifold=Stiefel())
    optimizer, oracle = make(mode, [x, plain]), make(mode, [y])
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    weight = torch.randn(4, 4)
    loss = (x * weight).sum() + plain.sum()
    scaler.scale(loss).backward()
    if bad:
        x.grad[0, 0] = torch.inf
    scaler.step(optimizer)
    scaler.update()
    if not bad:
        (y * weight).sum().backward()
        oracle.step()
    torch.testing.assert_close(x.data, y.data)
    assert torch.equal(plain.data, torch.ones(3)) == bad


@pytest.mark.parametrize("kind", [RiemannianSGD, RiemannianAdam])
@pytest.mark.parametrize("bad", [False, True])
def test_grad_scaler_hands_its_scale_to_a_fused_optimizer(kind, bad):
    x, plain = point(4, 4), nn.Parameter(torch.ones(3))
    y = geoopt.ManifoldParameter(x.detach().clone(), manifold=Stiefel())
    module = nn.Module()
    module.x, module.plain = x, plain
    optimizer = kind(param_groups(module, lr=0.1, lr_ortho=0.1), fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    weight = torch.randn(4, 4)
    scaler.scale((x * weight).sum() + plain.sum()).backward()
    if bad:
        plain.grad[0] = torch.inf
    scaler.step(optimizer)
    if not bad:
        (y * weight).sum().backward()
        kind([y], lr=0.1).step()
    torch.testing.assert_close(x.data, y.data)
    assert torch.equal(plain.data, torch.ones(3)) == bad


@every_mode
def test_a_compiled_step_is_the_same_step(mode):
    x = point(4, 4)
    y = geoopt.ManifoldParameter(x.detach().clone(), manifold=Stiefel())
    x.grad = y.grad = torch.randn_like(x)
    make(mode, [x]).step()
    torch.compile(make(mode, [y]).step, backend="eager")()
    torch.compiler.reset()
    assert torch.equal(x, y)
