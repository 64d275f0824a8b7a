import pytest
import torch

from benchmarks import models
from benchmarks.models import orthogonality_error
from benchmarks.models.parametrizations import (
    Exponential,
    Trivialization,
    entries_below_diagonal,
    skew_from,
)


def train(core, steps, seed=0, lr=0.05):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(core.parameters(), lr=lr)
    for _ in range(steps):
        dtype = core.weight_ih_l0.dtype
        x = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64).to(dtype)
        optimizer.zero_grad()
        core(x)[0].square().sum().backward()
        optimizer.step()


def trivialization(core):
    return core.parametrizations.weight_hh_l0[0]


@pytest.mark.parametrize("every", [1, 3])
def test_base_moves_every_k_training_passes_only(every):
    core = models.dtriv(3, 6, rebase_every=every)
    bases = [trivialization(core).base]
    train(core, every)
    assert trivialization(core).base is bases[0]
    core.eval()
    for _ in range(2 * every):
        core(torch.randn(5, 2, 3))
    assert trivialization(core).base is bases[0]
    w = core.weight_hh_l0.detach()
    train(core.train(), 1, lr=0.0)
    assert core.parametrizations.weight_hh_l0.original.abs().max() == 0
    torch.testing.assert_close(trivialization(core).base, w, atol=1e-6, rtol=0)
    assert (w - bases[0]).norm() > 0.1


def test_moving_the_base_does_not_change_the_function():
    core = models.dtriv(3, 6, 2, True, rebase_every=4).double()
    train(core, 8)  # the first change of base also mends the float32 of the start
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    before = core.eval()(x)
    after = core.train()(x)
    assert core.parametrizations.weight_hh_l1.original.abs().max() == 0
    torch.testing.assert_close(after, before)


def test_moving_the_base_leaves_an_earlier_graph_whole():
    core = models.dtriv(3, 6, rebase_every=2).double()
    train(core, 1)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    v = core.parametrizations.weight_hh_l0.original
    pending = core(x)[0].square().sum()
    (expected,) = torch.autograd.grad(pending, v, retain_graph=True)
    core(x)
    assert v.abs().max() == 0
    (found,) = torch.autograd.grad(pending, v)
    assert torch.equal(found, expected)


def test_every_change_of_base_mends_what_rounding_did():
    core = models.dtriv(3, 8, rebase_every=1)
    train(core, 1)
    trivialization(core).base.mul_(1.001)
    assert orthogonality_error(core) > 1e-3
    train(core, 2)
    assert orthogonality_error(core) < 2e-5
    train(core, 100)
    assert orthogonality_error(core) < 2e-6


@pytest.mark.parametrize("n", [1, 2, 5])
def test_entries_of_a_skew_matrix_come_back(n):
    v = torch.randn(n * (n - 1) // 2)
    a = skew_from(v, n)
    assert torch.equal(a, -a.mT)
    assert torch.equal(entries_below_diagonal(a), v)


@pytest.mark.parametrize("make", [Exponential, lambda n: Trivialization(n, 100)])
@pytest.mark.parametrize("angle", [0.01, 0.1, 0.3, 0.5, 0.57, 1.0, 3.0])
def test_exponential_of_a_small_rotation_is_exact_to_rounding(make, angle):
    t = torch.tensor([angle], requires_grad=True)
    w = make(2)(t)
    (slope,) = torch.autograd.grad(w[1, 0], t)
    exact = torch.tensor(angle).double()
    torch.testing.assert_close(w[1, 0].double(), exact.sin(), atol=1e-6, rtol=0)
    torch.testing.assert_close(w[0, 0].double(), exact.cos(), atol=1e-6, rtol=0)
    torch.testing.assert_close(slope.double(), exact.cos().reshape(1), atol=1e-6, rtol=0)
