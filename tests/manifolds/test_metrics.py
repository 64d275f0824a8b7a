"""One conformance suite over the table of metrics: a new row brings its tests."""

import math

import pytest
import torch

from orthornn import Stiefel
from orthornn.diagnostics import check_gradient
from orthornn.linalg import skew
from orthornn.manifolds import metrics
from orthornn.manifolds.metrics import METRICS

SHAPES = [(6, 6), (7, 3), (5, 4), (2, 5, 5), (3, 6, 2), (1, 1), (8, 1), (3, 7), (2, 1, 4)]
every_metric = pytest.mark.parametrize("metric", sorted(METRICS))
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def start(shape, metric):
    manifold = Stiefel(metric=metric)
    return manifold, manifold.random(*shape, dtype=torch.float64).data


def tangent(manifold, x, size=1.0):
    u = manifold.proju(x, torch.randn_like(x))
    return size * u / manifold.norm(x, u, keepdim=True).clamp(min=1e-30)


@every_metric
@every_shape
def test_projection_is_idempotent_tangent_and_orthogonal(metric, shape):
    manifold, x = start(shape, metric)
    u = torch.randn_like(x)
    v = manifold.proju(x, u)
    manifold.assert_check_vector_on_tangent(x, v, atol=1e-13)
    torch.testing.assert_close(manifold.proju(x, v), v)
    w = tangent(manifold, x)
    zero = torch.zeros(shape[:-2], dtype=torch.float64)
    torch.testing.assert_close(manifold.inner(x, u - v, w), zero, rtol=0, atol=1e-12)


@every_metric
@every_shape
def test_inner_product_is_the_formula(metric, shape):
    manifold, x = start(shape, metric)
    u, v = tangent(manifold, x), tangent(manifold, x)
    a, b, c = (x.mT, u.mT, v.mT) if shape[-2] < shape[-1] else (x, u, v)
    half = 0.5 if metric == "canonical" else 0.0
    weight = torch.eye(a.shape[-2], dtype=torch.float64) - half * a @ a.mT
    expected = (b.mT @ weight @ c).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(manifold.inner(x, u, v), expected)
    torch.testing.assert_close(manifold.inner(x, v, u), expected)
    assert (manifold.inner(x, u) >= 0).all()
    assert manifold.inner(x, u, v, keepdim=True).shape == (*shape[:-2], 1, 1)


@every_metric
@every_shape
def test_gradient_represents_the_differential(metric, shape):
    manifold, x = start(shape, metric)
    g, u = torch.randn_like(x), tangent(manifold, x)
    gradient = manifold.egrad2rgrad(x, g)
    manifold.assert_check_vector_on_tangent(x, gradient, atol=1e-13)
    torch.testing.assert_close(manifold.inner(x, gradient, u), (g * u).sum((-2, -1)))


@every_metric
@every_shape
def test_gradient_is_the_slope_of_a_cost(metric, shape):
    manifold, x = start(shape, metric)
    b = torch.randn_like(x)
    assert check_gradient(manifold, lambda y: (y * b).sum() ** 2 + (y**3 * b).sum(), x).ok


@every_metric
@pytest.mark.parametrize("shape", [(6, 6), (2, 5, 5)], ids=str)
def test_gradient_coordinates_are_those_of_the_gradient(metric, shape):
    manifold, x = start(shape, metric)
    g = torch.randn_like(x)
    gradient = manifold.to_lie_algebra(x, manifold.egrad2rgrad(x, g))
    torch.testing.assert_close(manifold.gradient_in_lie_algebra(x, g), gradient)
    a = skew(torch.randn_like(x))
    torch.testing.assert_close(manifold.to_lie_algebra(x, manifold.from_lie_algebra(x, a)), a)


@every_metric
@every_shape
def test_transport_is_tangent_isometric_and_linear(metric, shape):
    manifold, x = start(shape, metric)
    y = manifold.retr(x, tangent(manifold, x))
    u, v = tangent(manifold, x), tangent(manifold, x)
    a, b = manifold.transp(x, y, u), manifold.transp(x, y, v)
    manifold.assert_check_vector_on_tangent(y, a, atol=1e-13)
    torch.testing.assert_close(manifold.inner(y, a, b), manifold.inner(x, u, v))
    torch.testing.assert_close(manifold.transp(x, y, 2 * u - v), 2 * a - b)
    torch.testing.assert_close(manifold.transp(x, x, u), u)


@every_metric
@every_shape
def test_transport_tends_to_the_identity(metric, shape):
    manifold, x = start(shape, metric)
    u, v = tangent(manifold, x), tangent(manifold, x)
    differences = []
    for t in (1e-3, 1e-4):
        y = manifold.retr(x, t * u)
        differences.append((manifold.transp(x, y, v) - v).norm().item())
        torch.testing.assert_close(manifold.transp(y, x, manifold.transp(x, y, v)), v)
    assert differences[0] < 1e-2
    assert differences[1] < 0.11 * differences[0] + 1e-14


@every_metric
@every_shape
def test_retr_transp_is_both(metric, shape):
    manifold, x = start(shape, metric)
    u, v = tangent(manifold, x), tangent(manifold, x)
    y, w = manifold.retr_transp(x, u, v)
    torch.testing.assert_close(y, manifold.retr(x, u))
    torch.testing.assert_close(w, manifold.transp(x, y, v))


@every_metric
@every_shape
def test_expmap_is_a_geodesic(metric, shape):
    """Its speed is constant, and no curve between two of its points is shorter."""
    manifold, x = start(shape, metric)
    u, h = tangent(manifold, x), 1e-4
    for t in (0.3, 1.0):
        y = [manifold.expmap(x, s * u) for s in (t - h, t, t + h)]
        speed = manifold.norm(y[1], manifold.proju(y[1], (y[2] - y[0]) / (2 * h)))
        torch.testing.assert_close(speed, manifold.norm(x, u), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        manifold.expmap(manifold.expmap(x, 0.4 * u), _velocity(manifold, x, u, 0.4) * 0.6),
        manifold.expmap(x, u),
        rtol=1e-6,
        atol=1e-8,
    )


def _velocity(manifold, x, u, t, h=1e-5):
    y = manifold.expmap(x, t * u)
    ahead, behind = manifold.expmap(x, (t + h) * u), manifold.expmap(x, (t - h) * u)
    return manifold.proju(y, (ahead - behind) / (2 * h))


@every_shape
def test_the_euclidean_geodesic_accelerates_along_the_normal(shape):
    manifold, x = start(shape, "euclidean")
    u, h = tangent(manifold, x), 1e-3
    y = [manifold.expmap(x, t * u) for t in (0.5 - h, 0.5, 0.5 + h)]
    acceleration = (y[2] - 2 * y[1] + y[0]) / h**2
    torch.testing.assert_close(
        manifold.proju(y[1], acceleration), torch.zeros_like(x), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(7, 3), (5, 4), (3, 6, 2)], ids=str)
def test_the_canonical_geodesic_is_that_of_the_rotations_above_it(shape):
    """``exp(w) x`` with the w of Edelman et al.: [x x⊥] exp of its blocks."""
    manifold, x = start(shape, "canonical")
    u = tangent(manifold, x)
    b = u - x @ (x.mT @ u) / 2
    w = b @ x.mT - x @ b.mT
    # a rotation exp(w) with w = [[a, -bᵀ], [b, 0]] in the basis [x x⊥]
    torch.testing.assert_close(manifold.expmap(x, u), torch.linalg.matrix_exp(w) @ x)


@every_metric
@every_shape
@pytest.mark.parametrize("size", [0.0, 1e-7, 0.1, 1.0, 2.0])
def test_logmap_inverts_expmap(metric, shape, size):
    manifold, x = start(shape, metric)
    u = tangent(manifold, x, size)
    y = manifold.expmap(x, u)
    torch.testing.assert_close(manifold.logmap(x, y), u, rtol=0, atol=1e-12)
    torch.testing.assert_close(manifold.dist(x, y), manifold.norm(x, u), rtol=1e-9, atol=1e-12)
    assert manifold.dist(x, y, keepdim=True).shape == (*shape[:-2], 1, 1)


@every_metric
def test_a_batch_of_logarithms_waits_for_the_last(metric):
    manifold, x = start((3, 6, 2), metric)
    sizes = torch.tensor([1e-6, 1.5, 0.3], dtype=torch.float64)[:, None, None]
    u = tangent(manifold, x) * sizes
    torch.testing.assert_close(manifold.logmap(x, manifold.expmap(x, u)), u, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_antipode_of_the_sphere_is_half_a_circle_away(dtype):
    manifold = Stiefel()
    for x in (torch.eye(3, 1, dtype=dtype), manifold.random(5, 1, dtype=dtype).data):
        u = manifold.logmap(x, -x)
        torch.testing.assert_close(manifold.expmap(x, u), -x)
        assert manifold.dist(x, -x).item() == pytest.approx(math.pi)


@every_metric
@pytest.mark.parametrize("angle", [math.pi / 2, 2 * math.pi / 3, math.pi])
def test_distance_of_a_single_turn_from_anywhere(metric, angle):
    manifold = Stiefel(metric=metric)
    a = torch.zeros(4, 4, dtype=torch.float64)
    a[0, 1] = angle
    for _ in range(50):
        x = manifold.random(4, 4, dtype=torch.float64).data
        y = x @ torch.linalg.matrix_exp(a - a.mT)
        q = manifold.random(4, 4, dtype=torch.float64).data
        expected = angle * (2**0.5 if metric == "euclidean" else 1)
        assert manifold.dist(q @ x, q @ y).item() == pytest.approx(expected)


@every_metric
def test_distance_of_a_rotation_is_its_angles(metric):
    manifold, x = start((4, 4), metric)
    angles = [0.3, 3.1]
    a = torch.zeros(4, 4, dtype=torch.float64)
    a[0, 1], a[2, 3] = angles
    y = x @ torch.linalg.matrix_exp(a - a.mT)
    factor = 2 if metric == "euclidean" else 1
    expected = math.sqrt(factor * sum(angle**2 for angle in angles))
    assert manifold.dist(x, y).item() == pytest.approx(expected, rel=1e-12)


def test_between_unlike_determinants_the_distance_is_infinite_and_there_is_no_logarithm():
    x = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    y = x.clone()
    y[1, 0, 0] = -1
    assert Stiefel().dist(x, y).tolist() == [0.0, math.inf]
    with pytest.raises(ValueError, match="different determinant"):
        Stiefel().logmap(x, y)


def test_points_too_far_apart_for_the_iteration_are_an_error(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_ITERATIONS", 3)
    manifold, x = start((5, 3), "euclidean")
    with pytest.raises(RuntimeError, match=r"did not converge in 3 geodesics: .* far apart"):
        manifold.logmap(x, manifold.expmap(x, tangent(manifold, x, 1.5)))
