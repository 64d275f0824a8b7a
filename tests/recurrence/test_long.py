"""Ten thousand steps, of time or of an optimizer: nothing overflows, nothing drifts."""

import geoopt
import pytest
import torch

from orthornn import OrthoRNN, RiemannianAdam, RiemannianSGD, Stiefel, henaff_
from orthornn.linalg import orthogonality_error
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES

T, B, H = 10_000, 2, 8
every_nonlinearity = pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))


@every_nonlinearity
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ten_thousand_steps_of_time_overflow_nowhere(nonlinearity, dtype):
    """Bounded inputs, a loss over all states: s(z) is no longer than z, but for modReLU's bias."""
    rnn = OrthoRNN(1, H, nonlinearity=nonlinearity, init="haar", dtype=dtype)
    x = torch.rand(T, B, 1, dtype=dtype).mul_(2).sub_(1).requires_grad_()
    h0 = torch.randn(1, B, H, dtype=dtype, requires_grad=True)
    h, h_n = rnn(x, h0)
    h.sum().backward()
    finite = [h, h_n, x.grad, h0.grad, *(p.grad for p in rnn.parameters())]
    assert all(bool(a.isfinite().all()) for a in finite)
    with torch.no_grad():
        added = rnn.weight_ih_l0.norm() + rnn.bias_ih_l0.norm() + rnn.bias_hh_l0.norm()
        if nonlinearity == "modrelu":
            added += rnn.modrelu_bias_l0.norm()
        longest = h0.norm(dim=-1).max() + T * added
    assert h.detach().norm(dim=-1).max() <= longest
    assert h0.grad.norm(dim=-1).max() <= T * H**0.5 * (1 + 1e-3)


def kept(nonlinearity, steps, dtype=torch.float64):
    """``‖∂L/∂h_0‖ / ‖∂L/∂h_T‖``, by random inputs, for a gradient that enters at the end alone."""
    rnn = OrthoRNN(1, H, nonlinearity=nonlinearity, init="haar", dtype=dtype)
    h0 = torch.randn(1, B, H, dtype=dtype, requires_grad=True)
    h, _ = rnn(torch.rand(steps, B, 1, dtype=dtype), h0)
    g = torch.randn(B, H, dtype=dtype)
    (dh0,) = torch.autograd.grad(h[-1], h0, g)
    return (dh0.norm() / g.norm()).item()


@every_nonlinearity
def test_no_nonlinearity_stretches_a_gradient(nonlinearity):
    assert kept(nonlinearity, 1000) <= 1 + 1e-9


def test_the_linear_path_keeps_a_gradient_over_ten_thousand_steps():
    assert kept("identity", T) == pytest.approx(1.0, abs=1e-9)
    assert kept("identity", T, torch.float32) == pytest.approx(1.0, abs=1e-2)


def test_tanh_shrinks_a_gradient_though_the_weight_is_orthogonal():
    short, long = kept("tanh", 100), kept("tanh", 1000)
    assert 0 < long < short < 0.9


def drift(kind, retraction, n, steps):
    """The largest ``‖WᵀW - I‖`` in ten looks at float32 steps along random gradients."""
    manifold = Stiefel(retraction)
    x = geoopt.ManifoldParameter(henaff_(torch.empty(n, n)), manifold=manifold)
    optimizer = kind([x])
    gradients = torch.randn(64, n, n)
    worst = 0.0
    for step in range(steps):
        x.grad = gradients[step % 64]
        optimizer.step()
        if step % (steps // 10) == 0 or step == steps - 1:
            worst = max(worst, orthogonality_error(x).item())
    return worst


@pytest.mark.slow
def test_twenty_thousand_steps_at_size_64_in_float32_stay_on_the_manifold():
    assert drift(RiemannianAdam, "polar", 64, 20_000) < 1e-5


@pytest.mark.sampled(3)
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_two_thousand_steps_by_every_retraction_stay_on_the_manifold(retraction):
    assert drift(RiemannianSGD, retraction, 16, 2000) < 2e-6
