import geoopt
import pytest
import torch
from torch import nn

from orthornn import OrthoRNN, Stiefel, SwitchedOrthoRNN
from orthornn.diagnostics import (
    check_gradient,
    check_retraction,
    gradient_norms,
    gradients,
    jacobian,
    orthogonality_error,
    saturation,
    singular_values,
)


@pytest.mark.parametrize("cell", [OrthoRNN, nn.RNN, nn.GRU, nn.LSTM])
def test_gradient_norms_equal_finite_differences_through_the_last_state(cell):
    rnn = cell(3, 4, dtype=torch.float64)
    x = torch.randn(6, 1, 3, dtype=torch.float64)
    target = torch.randn(4, dtype=torch.float64)
    norms, value = gradient_norms(rnn, x, lambda h: h[-1, 0] @ target)
    assert norms.shape == (6,)
    assert norms[-1] == pytest.approx(target.norm().item())
    torch.testing.assert_close(value, rnn(x)[0][-1, 0] @ target)

    # restart from the state after three steps and move it
    state = rnn(x[:3])[1]
    h = state[0] if isinstance(state, tuple) else state
    slopes, step = [], 1e-6
    for i in range(4):
        values = []
        for sign in (1, -1):
            moved = h.detach().clone()
            moved[0, 0, i] += sign * step
            start = (moved, state[1].detach()) if isinstance(state, tuple) else moved
            values.append((rnn(x[3:], start)[0][-1, 0] @ target).item())
        slopes.append((values[0] - values[1]) / (2 * step))
    assert norms[2].item() == pytest.approx(torch.tensor(slopes).norm().item(), rel=1e-5)


def test_linear_orthogonal_network_keeps_the_gradient_norm():
    rnn = OrthoRNN(3, 8, nonlinearity="identity", init="haar", dtype=torch.float64)
    norms, _ = gradient_norms(rnn, torch.randn(50, 1, 3).double(), lambda h: h[-1].sum())
    torch.testing.assert_close(norms, norms[-1].expand(50))


def test_gradient_norms_refuse_several_layers():
    with pytest.raises(ValueError, match="one layer in one direction, got a state of 2"):
        gradient_norms(nn.RNN(3, 4, num_layers=2), torch.randn(5, 1, 3), lambda h: h.sum())


def test_drift_and_spectrum():
    rnn = OrthoRNN(3, 4, num_layers=2)
    assert orthogonality_error(rnn) < 1e-6
    rnn.weight_hh_l1.data *= 2
    assert orthogonality_error(rnn) == pytest.approx(6.0, rel=1e-5)
    torch.testing.assert_close(singular_values(rnn.weight_hh_l1), torch.full((4,), 2.0).double())
    assert orthogonality_error(nn.RNN(3, 4)) is None


def test_slope_checks_accept_what_is_right_and_find_what_is_wrong():
    x = Stiefel().random(6, 6, dtype=torch.float64)
    manifold = Stiefel()
    assert check_retraction(manifold, x).ok
    assert check_retraction(manifold, x, geodesic=manifold.expmap).ok
    assert not check_retraction(Stiefel("qr"), x, geodesic=manifold.expmap).ok
    # geoopt's canonical "retraction" has the derivative 2u at a square point
    wrong = check_retraction(geoopt.Stiefel(), x)
    assert wrong.slope == pytest.approx(1, abs=0.1)
    assert not wrong.ok
    assert check_retraction(geoopt.EuclideanStiefel(), x).ok


def test_the_gradient_check_finds_a_wrong_backward():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0] ** 2  # should be 3

    x = Stiefel().random(5, 3, dtype=torch.float64)
    assert check_gradient(Stiefel(), lambda y: (y**3).sum(), x).ok
    wrong = check_gradient(Stiefel(), lambda y: Cube.apply(y).sum(), x)
    assert wrong.slope == pytest.approx(1, abs=0.1)
    assert not wrong.ok


def test_slope_checks_report_their_measurements():
    x, u = torch.eye(3), torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    found = check_retraction(Stiefel("exp"), x, u)
    assert len(found.steps) == len(found.errors)
    # exp(tu) = I + tu + t²u²/2: the error is t²/2 of a matrix of norm √2
    assert found.errors[0] == pytest.approx(found.steps[0] ** 2 / 2**0.5, rel=1e-2)
    exact = check_retraction(Stiefel("exp"), x, u, geodesic=Stiefel().expmap)
    assert exact.slope == float("inf")
    assert exact.ok


def test_slope_checks_do_not_take_nan_for_right():
    class Broken(Stiefel):
        def retr(self, x, u):
            return x * float("nan")

    x = Stiefel().random(4, 4)
    assert not check_retraction(Broken(), x).ok
    assert not check_gradient(Stiefel(), lambda y: y.sum() * float("nan"), x).ok


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", [OrthoRNN, nn.RNN, nn.GRU, nn.LSTM])
def test_jacobian_equals_that_of_autograd(cell, layers):
    torch.manual_seed(0)
    rnn = cell(3, 4, num_layers=layers, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    parts = 2 if cell is nn.LSTM else 1

    def end(s):
        state = tuple(part.view(layers, 4) for part in s.chunk(parts))
        _, last = rnn(x, state if parts == 2 else state[0])
        return torch.cat([part.flatten() for part in (last if parts == 2 else (last,))])

    zero = torch.zeros(parts * layers * 4, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(end, zero)
    torch.testing.assert_close(jacobian(rnn, x), expected, rtol=1e-10, atol=1e-12)

    elsewhere = torch.randn_like(zero)
    state = tuple(part.view(layers, 1, 4) for part in elsewhere.chunk(parts))
    found = jacobian(rnn, x, state if parts == 2 else state[0])
    expected = torch.autograd.functional.jacobian(end, elsewhere)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_jacobian_along_tokens_is_the_product_of_their_matrices():
    rnn = SwitchedOrthoRNN(5, 3, dtype=torch.float64)
    tokens = torch.tensor([4, 0, 2, 2])
    expected = torch.linalg.multi_dot([rnn.matrices()[x] for x in tokens.flip(0)])
    torch.testing.assert_close(jacobian(rnn, tokens), expected)
    with pytest.raises(ValueError, match=r"expected one sequence of shape \(T,\) of tokens"):
        jacobian(rnn, tokens.unsqueeze(1))


@pytest.mark.parametrize("cell", [OrthoRNN, nn.LSTM])
@pytest.mark.parametrize("stretch", [1, 2, 5, 7])
def test_jacobian_is_the_same_in_stretches(cell, stretch, monkeypatch):
    rnn = cell(3, 4, num_layers=2, dtype=torch.float64)
    x = torch.randn(7, 3, dtype=torch.float64)
    whole = jacobian(rnn, x)
    states = jacobian(rnn, x[:1]).numel()
    monkeypatch.setattr(gradients, "MAX_STATE_ELEMENTS", stretch * states)
    torch.testing.assert_close(jacobian(rnn, x), whole, rtol=1e-10, atol=1e-12)


def test_jacobian_of_a_linear_orthogonal_recurrence_has_unit_singular_values():
    rnn = OrthoRNN(3, 8, nonlinearity="identity", dtype=torch.float64)
    j = jacobian(rnn, torch.randn(200, 3, dtype=torch.float64))
    torch.testing.assert_close(singular_values(j), torch.ones(8, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"one sequence of shape \(T, I\), got \(4, 1, 3\)"):
        jacobian(rnn, torch.randn(4, 1, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="one direction"):
        jacobian(OrthoRNN(3, 4, bidirectional=True), torch.randn(4, 3))


@pytest.mark.parametrize(
    ("nonlinearity", "h", "share"),
    [
        ("tanh", [0.0, 0.9, 0.96, -0.96], 0.5),  # 1 - 0.96² = 0.078
        ("relu", [0.0, 0.1, 0.0, 2.0], 0.5),
        ("modrelu", [0.0, -0.1, 0.3, 2.0], 0.25),
        ("leaky_relu", [-0.1, -0.1, -2.0, 2.0], 0.75),
        ("identity", [0.0, 1.0], 0.0),
    ],
)
def test_saturation_is_the_share_of_flat_slopes(nonlinearity, h, share):
    before = torch.tensor(h)
    assert saturation(before, nonlinearity) == share
    assert torch.equal(before, torch.tensor(h))


def test_saturation_of_an_unknown_nonlinearity_is_refused():
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        saturation(torch.zeros(1), "gelu")
