import pytest
import torch

import orthornn
from orthornn import linalg
from orthornn.manifold import Stiefel

EPS = torch.finfo(torch.float64).eps


def point(*shape, dtype=torch.float64):
    return Stiefel().random(*shape, dtype=dtype).data


def near(*shape, size):
    """A matrix whose distance from the manifold, ‖mᵀm - I‖, is about `size`."""
    m = torch.randn(*shape, dtype=torch.float64)
    m = m / torch.linalg.matrix_norm(m)[..., None, None]
    return point(*shape) + size / 2 * m


@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (2, 5, 4), (1, 1)])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-2, 0.5, 3.0, 1e4])
def test_polar_equals_the_svd_polar_factor_at_any_distance(shape, size):
    m = near(*shape, size=size)
    u, _, vh = torch.linalg.svd(m, full_matrices=False)
    torch.testing.assert_close(linalg.polar(m), u @ vh, rtol=0, atol=1e-11)


@pytest.mark.parametrize("n", [8, 128])
@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e-1, 0.9])
def test_polar_reaches_the_precision_of_float32(n, size):
    q = linalg.polar(near(n, n, size=size).float())
    assert linalg.orthogonality_error(q) < 2 * n * torch.finfo(torch.float32).eps


def test_polar_is_exact_beside_entries_near_one():
    """Rotation blocks plus a small dense step: the squares of small entries must not be lost."""
    w = orthornn.henaff_(torch.empty(190, 190))
    a = linalg.skew(torch.randn(190, 20) @ torch.randn(20, 190)).sign()
    assert linalg.orthogonality_error(linalg.polar(w + w @ (2e-4 * a))) < 2e-6


@pytest.mark.parametrize("retraction", ["polar", "qr", "cayley", "exp"])
def test_a_step_of_a_large_float32_point_is_precise(retraction):
    manifold = Stiefel(retraction)
    x = manifold.random(190, 190).data
    u = 0.1 * manifold.proju(x, torch.randn_like(x)) / 190**0.5
    assert linalg.orthogonality_error(x) < 3e-6
    assert linalg.orthogonality_error(manifold.retr(x, u)) < 3e-6


def test_polar_takes_one_step_for_a_small_error(monkeypatch):
    products, m = [], near(16, 16, size=1e-5).float()
    original = linalg.gram_error
    monkeypatch.setattr(linalg, "gram_error", lambda x: products.append(1) or original(x))
    linalg.polar(m)
    assert len(products) == 1


def test_newton_schulz_error_obeys_its_prediction():
    m = near(8, 8, size=0.3)
    e = torch.linalg.matrix_norm(linalg.gram_error(m)).item()
    after = linalg.orthogonality_error(linalg.polar_step(m)).item()
    assert 0 < after <= 0.75 * e**2 + 0.25 * e**3


def test_polar_of_a_batch_serves_its_worst_member():
    m = torch.stack([near(5, 5, size=1e-9), near(5, 5, size=0.9)])
    assert linalg.orthogonality_error(linalg.polar(m)).max() < 100 * EPS


@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (2, 5, 4)])
def test_qr_factor_has_positive_diagonal(shape):
    m = torch.randn(*shape, dtype=torch.float64)
    q = linalg.qr_factor(m)
    r = q.mT @ m
    assert (r.diagonal(dim1=-2, dim2=-1) > 0).all()
    torch.testing.assert_close(q @ r, m)
    torch.testing.assert_close(r.tril(-1), torch.zeros_like(r))


def test_cayley_agrees_with_exp_to_second_order():
    a = linalg.skew(torch.randn(6, 6, dtype=torch.float64))
    differences = [
        torch.linalg.matrix_norm(linalg.cayley(t * a) - linalg.exp(t * a)) for t in (1e-2, 1e-3)
    ]
    assert differences[0] / differences[1] == pytest.approx(1000, rel=0.05)


def test_sym_and_skew_are_the_two_halves():
    a = torch.randn(2, 4, 4)
    torch.testing.assert_close(linalg.sym(a) + linalg.skew(a), a)
    torch.testing.assert_close(linalg.skew(a), -linalg.skew(a).mT)


def test_orthogonality_error_of_a_wide_matrix_is_that_of_its_rows():
    assert linalg.orthogonality_error(point(7, 3).mT) < 100 * EPS
    assert linalg.orthogonality_error(2 * torch.eye(4)) == pytest.approx(6.0)
