import numpy as np
import pytest
import torch

import orthornn
from orthornn import linalg
from orthornn.manifolds.stiefel import Stiefel

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


@pytest.mark.parametrize(
    ("size", "grams"), [(1e-5, 1), (1e-3, 1), (3e-3, 1), (2e-2, 1), (5e-2, 1), (0.2, 3), (3.0, 10)]
)
def test_polar_counts_its_steps(monkeypatch, size, grams):
    """A dense tangent step of spectral norm `size`: products are what a step costs."""
    x, taken = point(128, 128).float(), []
    a = linalg.skew(torch.randn(128, 128))
    m = x + x @ (size * a / torch.linalg.matrix_norm(a, 2))
    original = linalg.gram_error
    monkeypatch.setattr(linalg, "gram_error", lambda x: taken.append(1) or original(x))
    monkeypatch.setattr(linalg, "polar_svd", None)  # products alone, however far
    linalg.polar(m)
    assert len(taken) <= grams


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exponent", range(-16, 3))
def test_polar_stops_neither_early_nor_late(dtype, exponent):
    """At every distance, and so on both sides of every switch, each entry is at rounding."""
    x, a = point(24, 24), linalg.skew(torch.randn(24, 24, dtype=torch.float64))
    m = x + x @ (10 ** (exponent / 2) * a / torch.linalg.matrix_norm(a, 2))
    q = linalg.polar(m.to(dtype)).double()
    eps = torch.finfo(dtype).eps
    assert (q.mT @ q - torch.eye(24, dtype=torch.float64)).abs().max() < 4 * eps
    torch.testing.assert_close(q, linalg.polar_svd(m), rtol=0, atol=20 * eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-5, 1e-4, 1e-3])
def test_rounding_does_not_add_up_beside_entries_near_one(dtype, size):
    """Neither in the Gram matrix nor in the last product, which is summed before it is added."""
    w = orthornn.henaff_(torch.empty(128, 128, dtype=dtype))
    a = linalg.skew(torch.randn(128, 128, dtype=dtype))
    q = linalg.polar(w + w @ (size * a)).numpy().astype(np.longdouble)
    assert abs(q.T @ q - np.eye(128)).max() < 5 * torch.finfo(dtype).eps


def test_polar_of_a_matrix_close_to_singular_comes_from_the_svd():
    u, v = point(6, 6), point(6, 6)
    sigma = torch.tensor([3.0, 1, 1, 1, 1, 1e-6], dtype=torch.float64)
    torch.testing.assert_close(linalg.polar(u * sigma @ v.mT), u @ v.mT, rtol=0, atol=1e-8)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_polar_of_what_is_not_finite_is_an_error(bad):
    m = torch.eye(4)
    m[1, 2] = bad
    with pytest.raises(torch.linalg.LinAlgError):
        linalg.polar(m)


def test_svd_survives_a_failure_of_the_fast_algorithm(monkeypatch):
    m, original, calls = near(5, 3, size=0.3).float(), torch.linalg.svd, []

    def fails_once(a, full_matrices=True):
        calls.append(a.dtype)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("did not converge")
        return original(a, full_matrices=full_matrices)

    monkeypatch.setattr(torch.linalg, "svd", fails_once)
    u, sigma, vh = linalg.svd(m)
    assert calls == [torch.float32, torch.float64]
    torch.testing.assert_close(u * sigma @ vh, m)
    assert u.shape == (5, 3)


@pytest.mark.parametrize("determinant", [1, -1])
def test_nearest_rotation_reverses_the_smallest_direction(determinant):
    u, v = (orthornn.haar_(torch.empty(4, 4).double(), determinant=1) for _ in range(2))
    sigma = torch.tensor([4.0, 3, 2, 1], dtype=torch.float64)
    signs = torch.tensor([1.0, 1, 1, determinant], dtype=torch.float64)
    q = linalg.nearest_rotation(u * sigma @ v.mT, determinant)
    torch.testing.assert_close(q, u * signs @ v.mT)


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


@pytest.mark.parametrize("n", [2, 3, 6, 7])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, torch.pi / 2, 1.6, 3.0, 3.14159])
def test_log_inverts_exp(n, angle):
    a = linalg.skew(torch.randn(4, n, n, dtype=torch.float64))
    a = angle * a / torch.linalg.matrix_norm(a, 2)[..., None, None]
    torch.testing.assert_close(
        linalg.log(linalg.exp(a)), a, rtol=0, atol=1e-8 * (angle > 3) + 1e-13
    )


HALF_TURNS = [
    (3.14,),
    (3.1415926,),
    (torch.pi,),
    (torch.pi, torch.pi),
    (torch.pi, 1.0),
    (torch.pi, 3.141592653),
    (0.3, 0.3),
    (torch.pi / 2,),
    (torch.pi / 2, torch.pi / 2),
    (2 * torch.pi / 3, torch.pi / 2),
    (2.6905658417935308, torch.pi),  # arccos(-0.9)
]


@pytest.mark.parametrize("angles", HALF_TURNS, ids=str)
def test_log_of_half_turns_is_a_logarithm_of_least_norm(angles):
    a = torch.zeros(5, 5, dtype=torch.float64)
    for i, angle in enumerate(angles):
        a[2 * i, 2 * i + 1] = angle
    for _ in range(20):
        x = point(5, 5)
        q = x @ linalg.exp(a - a.mT) @ x.mT
        found = linalg.log(q)
        torch.testing.assert_close(found, -found.mT)
        torch.testing.assert_close(linalg.exp(found), q, rtol=0, atol=1e-13)
        torch.testing.assert_close(found.norm(), (a - a.mT).norm(), rtol=1e-7, atol=0)


@pytest.mark.parametrize("c", [1.0, -3.0, 1e25, 1e300])
def test_shorten_cuts_what_is_too_long_and_leaves_the_rest(c):
    u = torch.randn(4, 3, 3)
    u[1] *= 1e25  # its square overflows
    u[2] = 0
    cut, scale = linalg.clip_norm(u, c, 2.0)
    norms = torch.linalg.matrix_norm(cut) * abs(scale)
    assert (norms <= 2.0 * (1 + 1e-6)).all()
    assert norms[1] == pytest.approx(2.0)
    direction = u[1] / 1e25 / (u[1] / 1e25).norm()
    torch.testing.assert_close(cut[1] * scale / 2, direction * (1 if c > 0 else -1))
    almost = u[:1] / u[0].norm() * 1.99 / abs(c)
    assert linalg.clip_norm(almost, c, 2.0) == (almost, c) or c > 1e30


@pytest.mark.parametrize("size", [0.0, 1e-3, 0.3])
def test_polar_has_two_right_derivatives_in_every_direction(size):
    m = near(4, 3, size=size).requires_grad_()
    assert torch.autograd.gradcheck(linalg.polar, (m,))
    assert torch.autograd.gradgradcheck(linalg.polar, (m,), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [1e-3, 0.03, 0.1, 0.3, 0.5, 1.0, 3.0, 30.0])
def test_exp_of_one_matrix_is_as_exact_as_of_many(norm, dtype):
    a = torch.zeros(24, 24, dtype=torch.float64)
    a[range(1, 24, 2), range(0, 24, 2)] = 1  # planes: no norm of a is larger than its angle
    a = ((a - a.mT) * norm).to(dtype)
    angles, v = torch.linalg.eigh(-1j * a.to(torch.complex128))
    expected = ((v * torch.exp(1j * angles)) @ v.mH).real
    tolerance = 30 * max(1.0, norm) * torch.finfo(dtype).eps
    for q in (linalg.exp(a), linalg.exp(a[None])[0], linalg.exp(torch.stack([a, a]))[1]):
        torch.testing.assert_close(q.double(), expected, rtol=0, atol=tolerance)
