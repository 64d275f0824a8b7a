"""One conformance suite over the table of retractions: a new row brings its tests."""

import pytest
import torch

from orthornn import Stiefel, henaff_
from orthornn.diagnostics import check_retraction
from orthornn.linalg import orthogonality_error
from orthornn.manifolds.metrics import METRICS
from orthornn.manifolds.retractions import RETRACTIONS

SQUARE = [(6, 6), (2, 5, 5), (1, 1)]
TALL = [(7, 3), (5, 4), (3, 6, 2), (8, 1)]
WIDE = [(3, 7), (2, 4, 5)]
every_retraction = pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
every_metric = pytest.mark.parametrize("metric", sorted(METRICS))
every_shape = pytest.mark.parametrize("shape", SQUARE + TALL + WIDE, ids=str)


def point(shape, dtype=torch.float64):
    return Stiefel().random(*shape, dtype=dtype).data


def tangent(x):
    """A random tangent vector, each matrix of a batch of Frobenius norm 1."""
    u = Stiefel().proju(x, torch.randn_like(x))
    return u / torch.linalg.matrix_norm(u, keepdim=True).clamp(min=1e-30)


def worst_entry(x):
    x = x.detach().double()
    x = x.mT if x.shape[-2] < x.shape[-1] else x
    return (x.mT @ x - torch.eye(x.shape[-1], dtype=torch.float64)).abs().max()


@every_retraction
@every_metric
@every_shape
def test_retraction_at_zero_is_the_point(retraction, metric, shape):
    x = point(shape)
    torch.testing.assert_close(Stiefel(retraction, metric).retr(x, torch.zeros_like(x)), x)


@every_retraction
@every_metric
@every_shape
def test_retraction_has_the_identity_as_derivative_at_zero(retraction, metric, shape):
    assert check_retraction(Stiefel(retraction, metric), point(shape)).ok


@every_retraction
@every_metric
@every_shape
def test_retraction_is_of_the_order_that_its_row_states(retraction, metric, shape):
    manifold, x = Stiefel(retraction, metric), point(shape)
    slope = check_retraction(manifold, x, geodesic=manifold.expmap).slope
    square, sphere = shape[-1] == shape[-2], 1 in shape[-2:]
    second = metric in RETRACTIONS[retraction].second_order or (square and retraction != "qr")
    if sphere:  # all are arcs of the great circle, run through at another pace
        assert slope > 2.8
    else:
        assert slope > 2.8 if second else slope == pytest.approx(2, abs=0.1)


@every_retraction
@every_metric
@every_shape
@pytest.mark.parametrize("size", [1e-8, 1e-3, 0.3, 1.0, 10.0, 1e3])
def test_retraction_stays_on_the_manifold(retraction, metric, shape, size):
    x = point(shape)
    y = Stiefel(retraction, metric).retr(x, size * tangent(x))
    assert worst_entry(y) < 4e-15


@every_retraction
@pytest.mark.parametrize("n", [64, 190])
@pytest.mark.parametrize("size", [1e-4, 1e-2, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("start", ["haar", "henaff"])
def test_every_entry_is_precise_in_float32(retraction, n, size, start):
    x = point((n, n), torch.float32) if start == "haar" else henaff_(torch.empty(n, n))
    y = Stiefel(retraction).retr(x, size * n**0.5 * tangent(x))
    assert worst_entry(y) < 1e-6


@every_retraction
@pytest.mark.parametrize("n", [5, 6])
@pytest.mark.parametrize("size", [0.1, 3.0, 100.0])
def test_retraction_keeps_the_determinant(retraction, n, size):
    x = point((40, n, n))
    y = Stiefel(retraction).retr(x, size * tangent(x))
    torch.testing.assert_close(torch.linalg.det(y), torch.linalg.det(x))


@every_retraction
@every_metric
@pytest.mark.parametrize("shape", SQUARE, ids=str)
@pytest.mark.parametrize("scale", [1.0, -0.3])
def test_retract_skew_is_the_retraction_in_the_lie_algebra(retraction, metric, shape, scale):
    manifold, x = Stiefel(retraction, metric), point(shape)
    u = tangent(x)
    torch.testing.assert_close(
        manifold.retract_skew(x, manifold.to_lie_algebra(x, u), scale), manifold.retr(x, scale * u)
    )


@every_shape
@pytest.mark.parametrize("size", [1e-3, 0.5, 5.0])
def test_polar_and_svd_are_the_same_map(shape, size):
    x = point(shape)
    u = size * tangent(x)
    torch.testing.assert_close(
        Stiefel("polar").retr(x, u), Stiefel("svd").retr(x, u), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("shape", SQUARE + TALL, ids=str)
def test_cayley_is_the_curve_of_wen_and_yin(shape):
    x = point(shape)
    u = tangent(x)
    eye = torch.eye(shape[-2], dtype=torch.float64)
    b = (eye - x @ x.mT / 2) @ u
    w = b @ x.mT - x @ b.mT
    expected = torch.linalg.solve(eye - w / 2, (eye + w / 2) @ x)
    torch.testing.assert_close(Stiefel("cayley").retr(x, u), expected)


@pytest.mark.each_value_once
@every_retraction
@pytest.mark.parametrize("shape", [(32, 32), (32, 8), (8, 32)], ids=str)
def test_a_thousand_retractions_in_float32_do_not_drift(retraction, shape):
    manifold, x = Stiefel(retraction), point(shape, torch.float32)
    for _ in range(1000):
        x = manifold.retr(x, 0.05 * tangent(x))
    assert worst_entry(x) < 1e-6


@every_retraction
def test_a_batch_serves_its_members_alone(retraction):
    x = point((3, 5, 5))
    u = tangent(x) * torch.tensor([1e-6, 0.5, 20.0], dtype=torch.float64)[:, None, None]
    together = Stiefel(retraction).retr(x, u)
    for i in range(3):
        torch.testing.assert_close(together[i], Stiefel(retraction).retr(x[i], u[i]))


@every_retraction
def test_an_empty_batch_is_an_empty_batch(retraction):
    x = torch.empty(0, 4, 4)
    assert Stiefel(retraction).retr(x, x).shape == (0, 4, 4)
    assert orthogonality_error(x).shape == (0,)
