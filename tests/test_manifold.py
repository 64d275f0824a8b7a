"""One conformance suite over the table of retractions: a new row brings its tests."""

import geoopt
import pytest
import torch

from orthornn import Stiefel
from orthornn.linalg import orthogonality_error, sym
from orthornn.manifold import RETRACTIONS

SHAPES = [(6, 6), (7, 3), (5, 4), (2, 5, 5), (3, 6, 2), (1, 1)]
every_retraction = pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def point(shape, dtype=torch.float64):
    return Stiefel().random(*shape, dtype=dtype).data


def tangent(x):
    u = Stiefel().proju(x, torch.randn_like(x))
    size = torch.linalg.matrix_norm(u)[..., None, None]
    return u / size.clamp(min=1e-30)


@every_retraction
@every_shape
def test_retraction_at_zero_is_the_point(retraction, shape):
    x = point(shape)
    torch.testing.assert_close(Stiefel(retraction).retr(x, torch.zeros_like(x)), x)


@every_retraction
@every_shape
def test_retraction_has_the_identity_as_derivative_at_zero(retraction, shape):
    manifold, x = Stiefel(retraction), point(shape)
    u = tangent(x)
    errors = [
        torch.linalg.matrix_norm(manifold.retr(x, t * u) - x - t * u).max() for t in (1e-2, 1e-3)
    ]
    if errors[0] > 1e-12:  # in one dimension the tangent space is zero
        assert errors[0] / errors[1] > 80  # quadratic, so 100; a wrong slope gives 10


@pytest.mark.parametrize("retraction", ["polar", "cayley", "exp"])
@every_shape
def test_second_order_retractions_follow_the_geodesic(retraction, shape):
    manifold, x = Stiefel(retraction), point(shape)
    u = tangent(x)
    acceleration = -x @ (u.mT @ u)  # of the Euclidean geodesic
    errors = []
    for t in (1e-2, 1e-3):
        y = manifold.retr(x, t * u)
        second = sym(x.mT @ (y - x)) - t**2 / 2 * sym(x.mT @ acceleration)
        errors.append(torch.linalg.matrix_norm(second).max())
    if errors[0] > 1e-10:
        assert errors[0] / errors[1] > 800


@every_retraction
@every_shape
@pytest.mark.parametrize("size", [1e-8, 1e-3, 0.3, 1.0, 10.0])
def test_retraction_stays_on_the_manifold(retraction, shape, size):
    x = point(shape)
    y = Stiefel(retraction).retr(x, size * tangent(x))
    assert orthogonality_error(y).max() < 1e-13 * shape[-2]


@every_retraction
def test_retraction_keeps_the_determinant(retraction):
    x = point((40, 5, 5))
    y = Stiefel(retraction).retr(x, 3 * tangent(x))
    torch.testing.assert_close(torch.linalg.det(y), torch.linalg.det(x))


@every_retraction
def test_a_thousand_retractions_in_float32_do_not_drift(retraction):
    manifold, x = Stiefel(retraction), point((32, 32), torch.float32)
    for _ in range(1000):
        x = manifold.retr(x, 0.05 * tangent(x))
    assert orthogonality_error(x) < 1e-5


@every_shape
def test_expmap_is_the_euclidean_geodesic(shape):
    manifold, x = Stiefel(), point(shape)
    u, h = tangent(x), 1e-3
    y = [manifold.expmap(x, t * u) for t in (0.5 - h, 0.5, 0.5 + h)]
    velocity, acceleration = (y[2] - y[0]) / (2 * h), (y[2] - 2 * y[1] + y[0]) / h**2
    # a curve of constant speed whose acceleration is normal is a geodesic
    torch.testing.assert_close(
        manifold.inner(y[1], velocity), manifold.inner(x, u), rtol=1e-5, atol=1e-9
    )
    torch.testing.assert_close(
        manifold.proju(y[1], acceleration), torch.zeros_like(x), rtol=0, atol=1e-5
    )


@every_shape
def test_proju_is_the_orthogonal_projection_on_the_tangent_space(shape):
    manifold, x = Stiefel(), point(shape)
    u = torch.randn_like(x)
    v = manifold.proju(x, u)
    torch.testing.assert_close(manifold.proju(x, v), v)
    torch.testing.assert_close(sym(x.mT @ v), torch.zeros_like(x.mT @ v))
    w = tangent(x)
    torch.testing.assert_close(manifold.inner(x, u - v, w), torch.zeros(shape[:-2]).double())


@every_shape
def test_transport_is_tangent_and_where_square_isometric(shape):
    manifold, x = Stiefel(), point(shape)
    u, v = tangent(x), 2 * tangent(x)
    y = manifold.retr(x, u)
    carried = manifold.transp(x, y, v)
    manifold.assert_check_vector_on_tangent(y, carried)
    if shape[-1] == shape[-2]:
        torch.testing.assert_close(manifold.inner(y, carried), manifold.inner(x, v))


@every_shape
def test_projx_is_the_nearest_point(shape):
    manifold = Stiefel()
    m = point(shape) + 0.1 * torch.randn(shape, dtype=torch.float64)
    y = manifold.projx(m)
    manifold.assert_check_point_on_manifold(y)
    nearest = torch.linalg.matrix_norm(m - y)
    for _ in range(20):
        other = manifold.retr(y, 0.05 * tangent(y))
        assert (torch.linalg.matrix_norm(m - other) >= nearest - 1e-12).all()


def test_checks_say_by_how_much():
    with pytest.raises(ValueError, match=r"‖xᵀx - I‖ = 6\.0e\+00 > 2\.0e-05"):
        Stiefel().assert_check_point_on_manifold(2 * torch.eye(4))
    with pytest.raises(ValueError, match=r"‖xᵀu \+ uᵀx‖ = 4\.0e\+00 > 2\.0e-05"):
        Stiefel().assert_check_vector_on_tangent(torch.eye(4), torch.eye(4))
    with pytest.raises(ValueError, match=r"\(\.\.\., n, p\), got \(3,\)"):
        geoopt.ManifoldParameter(torch.zeros(3), manifold=Stiefel())


@pytest.mark.parametrize("n", [16, 512])
def test_an_exact_point_in_float32_passes_the_check_at_any_size(n):
    x = Stiefel().random(n, n)
    Stiefel().assert_check_point_on_manifold(x)
    Stiefel().assert_check_vector_on_tangent(x, Stiefel().proju(x, torch.randn(n, n)))


def test_random_is_a_contiguous_point_and_obeys_its_generator():
    draws = [Stiefel().random(5, 3, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert draws[0].is_contiguous()
    assert draws[0].manifold.check_point_on_manifold(draws[0])
    assert torch.equal(Stiefel().origin((4, 2)).data, torch.eye(4, 2))


def test_unknown_retraction_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"one of \['cayley', 'exp', 'polar', 'qr', 'svd'\], got 'qrr'"):
        Stiefel("qrr")


@pytest.mark.parametrize("shape", [(6, 6), (7, 3)])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: geoopt.optim.RiemannianAdam([p], lr=0.05),
        lambda p: geoopt.optim.RiemannianSGD([p], lr=0.1, momentum=0.5),
    ],
    ids=["adam", "sgd"],
)
def test_geoopt_optimizers_run_unchanged(shape, optimizer):
    goal = point(shape)
    x = geoopt.ManifoldParameter(Stiefel().retr(goal, tangent(goal)), manifold=Stiefel())
    optimizer = optimizer(x)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (x - goal).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert orthogonality_error(x) < 1e-12
