"""One conformance suite over the table of optimizers: a new row brings its tests."""

import copy

import geoopt
import pytest
import torch
from torch import nn

from orthornn import RiemannianAdam, RiemannianRMSprop, RiemannianSGD, Stiefel
from orthornn.linalg import orthogonality_error, skew
from orthornn.manifolds.retractions import RETRACTIONS

OPTIMIZERS = {
    "sgd": (RiemannianSGD, torch.optim.SGD, {"lr": 0.05}),
    "sgd, momentum": (RiemannianSGD, torch.optim.SGD, {"lr": 0.02, "momentum": 0.7}),
    "sgd, nesterov": (
        RiemannianSGD,
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.7, "nesterov": True},
    ),
    "adam": (RiemannianAdam, torch.optim.Adam, {"lr": 0.02}),
    "adam, amsgrad": (RiemannianAdam, torch.optim.Adam, {"lr": 0.02, "amsgrad": True}),
    "rmsprop": (RiemannianRMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}),
    "rmsprop, momentum": (
        RiemannianRMSprop,
        torch.optim.RMSprop,
        {"lr": 0.005, "alpha": 0.9, "momentum": 0.5},
    ),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
ADAPTIVE = [name for name in OPTIMIZERS if "sgd" not in name]


def point(*shape, dtype=torch.float64, retraction="polar"):
    manifold = Stiefel(retraction)
    return geoopt.ManifoldParameter(manifold.random(*shape, dtype=dtype).data, manifold=manifold)


def make(name, params, **options):
    kind, _, defaults = OPTIMIZERS[name]
    return kind(params, **{**defaults, **options})


def train(optimizer, x, loss, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
    return loss(x).item()


@every_optimizer
@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (2, 5, 5)], ids=str)
def test_finds_a_goal_near_the_start(name, shape):
    x = point(*shape)
    manifold = x.manifold
    u = manifold.proju(x.data, torch.randn(shape, dtype=torch.float64))
    goal = manifold.expmap(x.data, u / torch.linalg.matrix_norm(u)[..., None, None])
    optimizer = make(name, [x])
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 300)
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    assert train(optimizer, x, lambda x: (x - goal).square().sum(), 300) < 1e-3
    assert orthogonality_error(x).max() < 1e-13 * shape[-2]


@pytest.mark.each_value_once
@every_optimizer
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_a_thousand_noisy_steps_in_float32_stay_orthogonal(name, retraction):
    x = point(32, 32, dtype=torch.float32, retraction=retraction)
    optimizer = make(name, [x], lr=0.01)
    for _ in range(1000):
        x.grad = torch.randn_like(x)
        optimizer.step()
    assert orthogonality_error(x) < 1e-5


@every_optimizer
def test_plain_parameters_train_exactly_as_under_torch(name):
    _, theirs, options = OPTIMIZERS[name]
    options = {**options, "weight_decay": 0.01}
    models = [nn.Linear(4, 3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    x = point(5, 5)
    ours = make(name, [{"params": models[0].parameters(), **options}, {"params": [x]}])
    optimizers = [ours, theirs(models[1].parameters(), **options)]
    data = torch.randn(8, 4)
    for _ in range(20):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            (model(data).square().sum() + x.sum()).backward()
            optimizer.step()
    assert torch.equal(models[0].weight, models[1].weight)
    assert torch.equal(models[0].bias, models[1].bias)


def test_sgd_step_is_lr_times_the_riemannian_gradient():
    x = point(6, 6)
    start, g = x.data.clone(), torch.randn_like(x)
    x.grad = g
    RiemannianSGD([x], lr=1e-6).step()
    expected = -start @ skew(start.mT @ g)
    torch.testing.assert_close((x.data - start) / 1e-6, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("adaptivity", "shape"),
    [("elementwise", (6, 6)), ("scalar", (6, 6)), ("scalar", (7, 3))],
    ids=str,
)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_typical_entry_of_the_step_is_lr_in_both_adaptivities(name, adaptivity, shape):
    x = point(*shape)
    optimizer = make(name, [x], lr=1e-5, adaptivity=adaptivity)
    g = torch.randn_like(x)
    for _ in range(60):  # the second moment settles
        x.grad = g
        before = x.data.clone()
        optimizer.step()
    step = x.data - before
    coordinates = skew(before.mT @ step) if shape[0] == shape[1] else step
    factor = 2.0 if "momentum" in name else 1.0  # 1 / (1 - μ)
    assert coordinates.square().mean().sqrt().item() == pytest.approx(factor * 1e-5, rel=0.15)


FRAME_CASES = {
    **OPTIMIZERS,
    "sgd, dampening": (
        RiemannianSGD,
        torch.optim.SGD,
        {"lr": 0.02, "momentum": 0.7, "dampening": 0.4},
    ),
    "adam, eps": (RiemannianAdam, torch.optim.Adam, {"lr": 0.02, "eps": 0.3}),
}


@pytest.mark.parametrize("name", FRAME_CASES)
def test_square_point_moves_as_torch_moves_its_lie_algebra_coordinates(name):
    ours, theirs, options = FRAME_CASES[name]
    options = {**options, "lr": 1e-7}  # so small that the steps commute
    x = point(5, 5)
    start = x.data.clone()
    a = nn.Parameter(torch.zeros(5, 5, dtype=torch.float64))
    optimizer, oracle = ours([x], **options), theirs([a], **options)
    for size in (1.0, 3.0, 0.1, 0.5, 2.0):
        a.grad = skew(size * torch.randn(5, 5, dtype=torch.float64))
        x.grad = x.data @ a.grad
        optimizer.step()
        oracle.step()
    moved = skew(start.mT @ x.data)
    torch.testing.assert_close(moved, a.data, rtol=1e-5, atol=1e-12)


@every_optimizer
@pytest.mark.parametrize("shape", [(6, 3), (5, 5)], ids=str)
def test_moments_are_tangent_after_every_step(name, shape):
    x = point(*shape)
    optimizer = make(name, [x])
    for _ in range(5):
        x.grad = torch.randn_like(x)
        optimizer.step()
        for key in ("momentum_buffer", "exp_avg"):
            if key in optimizer.state[x]:
                m = optimizer.state[x][key]
                m = m if shape[0] > shape[1] else x.data @ m
                x.manifold.assert_check_vector_on_tangent(x, m, atol=1e-10)


@every_optimizer
def test_gradient_is_read_and_never_written(name):
    x = point(5, 5)
    x.grad = torch.randn_like(x)
    before = x.grad.clone()
    make(name, [x]).step()
    assert torch.equal(x.grad, before)


@every_optimizer
@pytest.mark.parametrize("shape", [(5, 5), (6, 3)], ids=str)
def test_resume_from_a_state_dict_is_exact(name, shape):
    x = point(*shape)
    linear = nn.Linear(3, 3)
    params = [{"params": [x]}, {"params": linear.parameters()}]

    def advance(x, linear, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(5):
            x.grad = torch.randn(shape, dtype=torch.float64, generator=generator)
            for p in linear.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()

    optimizer = make(name, params)
    advance(x, linear, optimizer, 1)
    saved = copy.deepcopy((x, linear, optimizer.state_dict()))
    advance(x, linear, optimizer, 2)

    y, other, state = saved
    resumed = make(name, [{"params": [y]}, {"params": other.parameters()}])
    resumed.load_state_dict(state)
    advance(y, other, resumed, 2)
    assert torch.equal(x, y)
    assert torch.equal(linear.weight, other.weight)


@every_optimizer
def test_maximize_ascends(name):
    x, y = point(5, 5), None
    y = copy.deepcopy(x)
    x.grad = torch.randn_like(x)
    y.grad = -x.grad
    make(name, [x], maximize=True).step()
    make(name, [y]).step()
    assert torch.equal(x, y)


@every_optimizer
def test_learning_rate_is_read_at_every_step(name):
    x = point(5, 5)
    optimizer = make(name, [x])
    optimizer.param_groups[0]["lr"] = 0.0
    before = x.data.clone()
    x.grad = torch.randn_like(x)
    optimizer.step()
    torch.testing.assert_close(x.data, before, rtol=0, atol=1e-14)


@every_optimizer
def test_closure_runs_once_with_gradients_enabled(name):
    x = point(5, 5)
    optimizer, calls = make(name, [x]), []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = x.sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert calls == [True]
    assert loss is not None


@every_optimizer
def test_step_hooks_run_once(name):
    nn_parameter, x, calls = nn.Parameter(torch.zeros(2)), point(5, 5), []
    OPTIMIZERS[name][1]([nn_parameter], lr=0.1)  # torch wraps the step of its own class now
    optimizer = make(name, [x])
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    x.grad = torch.randn_like(x)
    optimizer.step()
    assert calls == [1]


@every_optimizer
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(name, bad):
    x, plain = point(5, 5), nn.Parameter(torch.ones(3))
    optimizer = make(name, [plain, x])
    x.grad, plain.grad = torch.randn_like(x), torch.ones(3)
    x.grad[0, 1] = bad
    before = x.data.clone()
    with pytest.raises(FloatingPointError, match=r"shape \(5, 5\) is not finite"):
        optimizer.step()
    assert torch.equal(x.data, before)
    assert torch.equal(plain.data, torch.ones(3))
    assert not optimizer.state


@every_optimizer
@pytest.mark.parametrize(
    ("manifold", "shape"),
    [(geoopt.Sphere(), (5,)), (geoopt.Sphere(), (2, 5)), (geoopt.EuclideanStiefel(), (6, 3))],
    ids=["vector", "vectors", "matrix"],
)
def test_other_manifolds_of_geoopt_work_too(name, manifold, shape):
    data = manifold.projx(torch.randn(shape, dtype=torch.float64))
    x = geoopt.ManifoldParameter(data, manifold=manifold)
    optimizer = make(name, [x])
    for _ in range(20):
        x.grad = torch.randn_like(x)
        optimizer.step()
    manifold.assert_check_point_on_manifold(x)


@every_optimizer
def test_wrong_parameters_are_refused_as_by_torch(name):
    ours, theirs, options = OPTIMIZERS[name]
    for params in ([], torch.zeros(3), [torch.zeros(3, requires_grad=True) * 2]):
        with pytest.raises(Exception) as expected:  # noqa: PT011
            theirs(params, **options)
        with pytest.raises(type(expected.value), match=r".+"):
            ours(params, **options)
