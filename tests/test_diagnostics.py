import pytest
import torch
from torch import nn

from orthornn import OrthoRNN
from orthornn.diagnostics import gradient_norms, orthogonality_error, singular_values


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
