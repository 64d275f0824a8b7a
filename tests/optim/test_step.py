"""How a step treats batches, groups that change, foreign manifolds, precision and hooks."""

import geoopt
import pytest
import torch
from torch import nn

from orthornn import RiemannianAdam, RiemannianRMSprop, RiemannianSGD, Stiefel
from orthornn.manifolds.retractions import RETRACTIONS

OPTIMIZERS = {
    "sgd": lambda p, **o: RiemannianSGD(p, **{"lr": 0.1, "momentum": 0.9, **o}),
    "adam": lambda p, **o: RiemannianAdam(p, **{"lr": 0.1, **o}),
    "rmsprop": lambda p, **o: RiemannianRMSprop(p, **{"lr": 0.1, "momentum": 0.5, **o}),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)
every_shape = pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 4)], ids=str)


def point(*shape, dtype=torch.float64, manifold=None):
    manifold = manifold or Stiefel()
    return geoopt.ManifoldParameter(manifold.random(*shape, dtype=dtype), manifold=manifold)


@every_optimizer
@pytest.mark.parametrize("adaptivity", [None, "scalar"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3)], ids=str)
def test_the_members_of_a_batch_move_as_they_would_alone(optimizer, adaptivity, shape):
    together = point(3, *shape)
    alone = [geoopt.ManifoldParameter(x.clone(), manifold=Stiefel()) for x in together.detach()]
    options = {} if optimizer == "sgd" else {"adaptivity": adaptivity}
    ours = OPTIMIZERS[optimizer]([together], **options)
    theirs = OPTIMIZERS[optimizer](alone, **options)
    for _ in range(3):
        together.grad = torch.randn_like(together) * torch.tensor([1.0, 1e-3, 1e3]).view(3, 1, 1)
        for x, g in zip(alone, together.grad, strict=True):
            x.grad = g.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(together.detach(), torch.stack([x.detach() for x in alone]))


@every_optimizer
@every_shape
def test_maximize_is_the_step_of_the_negative_gradient(optimizer, shape):
    x, y = point(*shape), point(*shape)
    y.data.copy_(x.data)
    x.grad = torch.randn_like(x)
    y.grad = -x.grad
    OPTIMIZERS[optimizer]([x], maximize=True).step()
    OPTIMIZERS[optimizer]([y]).step()
    assert torch.equal(x, y)


@every_optimizer
@every_shape
@pytest.mark.parametrize("size", [1.0, 1e200])
def test_no_gradient_is_written_to(optimizer, shape, size):
    x = point(*shape)
    x.grad = size * torch.randn_like(x)
    before = x.grad.clone()
    OPTIMIZERS[optimizer]([x]).step()
    assert torch.equal(x.grad, before)


@every_optimizer
@every_shape
def test_the_scale_of_a_fused_scaler_reaches_every_point(optimizer, shape):
    x, y = point(*shape), point(*shape)
    y.data.copy_(x.data)
    x.grad = torch.randn_like(x)
    y.grad = 1024 * x.grad
    OPTIMIZERS[optimizer]([x]).step()
    scaled = OPTIMIZERS[optimizer]([y])
    scaled.grad_scale, scaled.found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    scaled.step()
    torch.testing.assert_close(x.data, y.data)


@every_optimizer
def test_hooks_run_once_beside_plain_parameters_too(optimizer):
    plain, x, calls = nn.Parameter(torch.zeros(2)), point(4, 4), []
    torch.optim.SGD([plain], lr=0.1), torch.optim.Adam([plain]), torch.optim.RMSprop([plain])
    made = OPTIMIZERS[optimizer]([plain, x])
    made.register_step_post_hook(lambda *_: calls.append("post"))
    made.register_step_pre_hook(lambda *_: calls.append("pre"))
    plain.grad, x.grad = torch.ones(2), torch.randn_like(x)
    made.step()
    assert calls == ["pre", "post"]


CHANGES = [
    ({"weight_decay": 0.5}, "weight_decay must be 0"),
    ({"differentiable": True}, "differentiable=True is not supported"),
    ({"capturable": True}, "capturable=True is not supported"),
    ({"on_nonfinite": "rais"}, "on_nonfinite must be one of"),
    ({"adaptivity": "matrx"}, "adaptivity must be one of"),
    ({"eps": 0.0}, "eps must be positive"),
    ({"lr": float("nan")}, "lr must be finite"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=str)
def test_an_option_changed_later_is_checked_before_anything_moves(change, message):
    x, plain = point(4, 4), nn.Parameter(torch.ones(2))
    optimizer = RiemannianAdam([plain, x], lr=0.1)
    optimizer.param_groups[0].update(change)
    before = x.detach().clone()
    x.grad, plain.grad = torch.randn_like(x), torch.ones(2)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert torch.equal(x, before)
    assert torch.equal(plain.data, torch.ones(2))


@pytest.mark.parametrize("lr", ["0.1", None])
def test_a_group_refused_for_any_reason_does_not_stay(lr):
    optimizer = RiemannianAdam([point(4, 4)])
    with pytest.raises((TypeError, ValueError)):
        optimizer.add_param_group({"params": [point(4, 4)], "lr": lr})
    assert len(optimizer.param_groups) == 1


@every_optimizer
@every_shape
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_a_learning_rate_of_zero_leaves_every_bit(optimizer, shape, retraction):
    x = point(*shape, dtype=torch.float32, manifold=Stiefel(retraction))
    made, before = OPTIMIZERS[optimizer]([x], lr=0.0), x.detach().clone()
    for _ in range(3):
        x.grad = torch.randn_like(x)
        made.step()
    assert torch.equal(x, before)


@every_shape
@pytest.mark.parametrize(("lr", "size"), [(1e25, 1e20), (1e39, 1.0), (1e39, 1e38)])
def test_a_huge_learning_rate_damages_nothing(shape, lr, size):
    x = point(*shape, dtype=torch.float32)
    optimizer = RiemannianSGD([x], lr=lr, momentum=0.9)
    for _ in range(3):
        x.grad = size * torch.randn_like(x).clamp(-3, 3)
        optimizer.step()
    Stiefel().assert_check_point_on_manifold(x, atol=1e-6)
    assert optimizer.state[x]["momentum_buffer"].isfinite().all()


@every_optimizer
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_a_step_under_autocast_is_the_same_step(optimizer, retraction):
    manifold = Stiefel(retraction)
    x = point(32, 32, dtype=torch.float32, manifold=manifold)
    y = geoopt.ManifoldParameter(x.detach().clone(), manifold=manifold)
    x.grad = torch.randn_like(x)
    y.grad = x.grad.clone()
    OPTIMIZERS[optimizer]([x]).step()
    with torch.autocast("cpu", torch.bfloat16):
        OPTIMIZERS[optimizer]([y]).step()
    assert torch.equal(x, y)


@every_optimizer
@pytest.mark.parametrize(
    "manifold", [geoopt.CanonicalStiefel(), geoopt.EuclideanStiefelExact()], ids=["can", "exact"]
)
def test_manifolds_that_transport_along_the_retraction_only(optimizer, manifold):
    x = point(5, 3, manifold=manifold)
    goal = x.detach().clone()
    made = OPTIMIZERS[optimizer]([x], lr=0.01)
    for _ in range(5):
        x.grad = torch.randn_like(x)
        made.step()
    manifold.assert_check_point_on_manifold(x)
    assert not torch.equal(x, goal)


@pytest.mark.parametrize("manifold", [geoopt.Sphere(), geoopt.EuclideanStiefel()], ids=["s", "e"])
def test_moments_of_other_manifolds_are_carried_to_the_tangent_space(manifold):
    shape = (5,) if isinstance(manifold, geoopt.Sphere) else (5, 3)
    x = geoopt.ManifoldParameter(
        manifold.projx(torch.randn(shape, dtype=torch.float64)), manifold=manifold
    )
    optimizer = RiemannianSGD([x], lr=0.3, momentum=0.9)
    for _ in range(4):
        x.grad = torch.randn_like(x)
        optimizer.step()
        m = optimizer.state[x]["momentum_buffer"]
        manifold.assert_check_vector_on_tangent(x.detach(), m)
