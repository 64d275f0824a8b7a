"""Moving some rows at a time, and spectral steepest descent: what is special to them."""

import geoopt
import pytest
import torch
from torch import nn

from orthornn import RiemannianAdam, RiemannianMuon, RiemannianRMSprop, RiemannianSGD, Stiefel
from orthornn.linalg import orthogonality_error, skew, skew_sign, skew_sign_by_products
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.optim.coordinates import count_rows


def point(*shape, dtype=torch.float64, **options):
    manifold = Stiefel(**options)
    return geoopt.ManifoldParameter(manifold.random(*shape, dtype=dtype), manifold=manifold)


@pytest.mark.parametrize("rows", [2, 3, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(6, 6), (2, 6, 6)], ids=str)
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_only_so_many_rows_move_and_turn_among_themselves(rows, shape, retraction):
    x = point(*shape, retraction=retraction)
    optimizer = RiemannianSGD([x], lr=0.3, rows=rows)
    for _ in range(3):
        start = x.detach().clone()
        x.grad = torch.randn_like(x)
        optimizer.step()
        moved = (x.detach() != start).any(-1)
        moved = moved if moved.ndim == 1 else moved.any(0)
        assert moved.sum() == count_rows(rows, 6)
        turn = (x.detach() @ start.mT)[..., ~moved, :][..., moved]
        torch.testing.assert_close(turn, torch.zeros_like(turn))
        assert orthogonality_error(x).max() < 1e-13


def test_every_row_has_its_turn_and_the_seed_decides():
    def touched(seed):
        x = point(8, 8)
        optimizer = RiemannianSGD([x], lr=0.1, rows=2, seed=seed)
        sets = []
        for _ in range(30):
            start = x.detach().clone()
            x.grad = torch.randn_like(x)
            optimizer.step()
            sets.append(frozenset((x.detach() != start).any(-1).nonzero().flatten().tolist()))
        return sets

    assert set().union(*touched(0)) == set(range(8))
    assert len(set(touched(0))) > 10
    assert touched(0) == touched(0)
    assert touched(0) != touched(1)


@pytest.mark.parametrize("metric", ["euclidean", "canonical"])
def test_the_step_is_the_block_of_the_gradient(metric):
    x = point(6, 6, metric=metric)
    start, g = x.detach().clone(), torch.randn_like(x)
    x.grad = g
    RiemannianSGD([x], lr=1e-6, rows=3).step()
    moved = (x.detach() != start).any(-1)
    both = (moved[:, None] & moved).double()
    left = x.manifold.egrad2rgrad(start, g) @ start.T  # b with gradient = b x
    torch.testing.assert_close(
        (x.detach() - start) / -1e-6, (left * both) @ start, rtol=1e-4, atol=1e-4
    )


def test_all_rows_at_once_are_the_usual_step():
    x, y = point(6, 6), point(6, 6)
    y.data.copy_(x.data)
    for _ in range(3):
        x.grad = torch.randn_like(x)
        y.grad = x.grad.clone()
        RiemannianSGD([x], lr=0.1).step()
        RiemannianSGD([y], lr=0.1, rows=1.0).step()
    torch.testing.assert_close(x.data, y.data)


def test_moments_of_rows_that_rest_rest_too():
    x = point(6, 6)
    optimizer = RiemannianRMSprop([x], lr=0.1, rows=2)
    x.grad = torch.randn_like(x)
    optimizer.step()
    v = optimizer.state[x]["square_avg"]
    assert v.shape == (6, 6)
    assert (v != 0).sum() == 2  # a skew block of two rows has two entries
    x.grad = torch.randn_like(x)
    optimizer.step()
    assert int(optimizer.state[x]["step"]) == 2


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", [0.01, 0.3])
def test_rows_in_float32_do_not_drift(size):
    x = point(32, 32, dtype=torch.float32)
    optimizer = RiemannianRMSprop([x], lr=size, rows=0.25)
    for _ in range(3000):
        x.grad = torch.randn_like(x)
        optimizer.step()
    w = x.detach().double()
    assert (w.T @ w - torch.eye(32, dtype=torch.float64)).abs().max() < 1e-6


def test_a_gradient_that_is_not_finite_outside_the_rows_is_seen():
    x = point(6, 6)
    x.grad = torch.full_like(x, float("nan"))
    probe = RiemannianSGD([x], lr=0.1, rows=2)
    for row in range(6):
        x.grad = torch.randn_like(x)
        x.grad[row, 0] = float("nan")
        with pytest.raises(FloatingPointError):
            probe.step()


@pytest.mark.parametrize("rows", [0, 1, 7, -0.5, 1.5, True, "all"])
def test_a_wrong_number_of_rows_is_refused(rows):
    with pytest.raises(ValueError, match=r"rows must be a share .* from 2 to n = 6, got"):
        RiemannianSGD([point(6, 6)], rows=rows)


@pytest.mark.parametrize("kind", [RiemannianAdam, RiemannianMuon])
def test_optimizers_without_rows_refuse_them(kind):
    with pytest.raises(ValueError, match=r"rows=2 is not supported"):
        kind([{"params": [point(6, 6)], "rows": 2}])


def test_rows_and_muon_need_square_points():
    with pytest.raises(ValueError, match=r"rows needs square points.*\(6, 3\)"):
        RiemannianSGD([point(6, 3)], rows=2)
    with pytest.raises(ValueError, match=r"this optimizer needs square points.*\(6, 3\)"):
        RiemannianMuon([point(6, 3)])
    with pytest.raises(ValueError, match="amsgrad=True is not supported"):
        RiemannianMuon([{"params": [point(4, 4)], "amsgrad": True}])


@pytest.mark.parametrize("n", [2, 5, 8, 64])
@pytest.mark.parametrize("sign", [skew_sign, skew_sign_by_products])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_skew_sign_makes_every_angle_one(n, sign, scale):
    a = scale * skew(torch.randn(3, n, n, dtype=torch.float64))
    s = sign(a)
    torch.testing.assert_close(s, -s.mT)
    angles = torch.linalg.svdvals(s)[..., : n - n % 2]
    torch.testing.assert_close(angles, torch.ones_like(angles), rtol=0, atol=1e-9)
    descent = (s * a).sum((-2, -1))  # the nuclear norm: no other s of spectral norm 1 has more
    torch.testing.assert_close(descent, torch.linalg.svdvals(a).sum(-1))
    assert not sign(torch.zeros(n, n)).any()


def test_muon_turns_every_plane_by_the_same_angle():
    x = point(6, 6)
    start = x.detach().clone()
    x.grad = torch.randn_like(x)
    RiemannianMuon([x], lr=1e-3).step()
    angles = torch.linalg.eigvals(start.T @ x.detach()).angle().abs()
    torch.testing.assert_close(angles, torch.full_like(angles, 1e-3 * 6**0.5), rtol=1e-4, atol=0)


def test_muon_moves_plain_parameters_as_adam_does():
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizers = [
        RiemannianMuon([ours, point(4, 4)], lr=0.1, betas=(0.8, 0.9)),
        torch.optim.Adam([theirs], lr=0.1, betas=(0.8, 0.9)),
    ]
    for _ in range(5):
        ours.grad = torch.randn(3)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(ours, theirs)
