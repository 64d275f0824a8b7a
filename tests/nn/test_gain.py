"""A gain multiplies the orthogonal weight where it is used, fixed or learned."""

import pytest
import torch
from torch import nn

from orthornn import OrthoRNN, OrthoRNNCell
from orthornn.diagnostics import orthogonality_error

SHAPES = {OrthoRNN: (5, 2, 3), OrthoRNNCell: (2, 3)}
both = pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)


def gains(module):
    return {name: p for name, p in module.named_parameters() if "gain" in name}


@both
def test_a_fixed_gain_is_torch_s_network_with_the_weight_so_much_larger(make):
    mine = make(3, 4, nonlinearity="tanh", gain=2.5, dtype=torch.float64)
    theirs = (nn.RNN if make is OrthoRNN else nn.RNNCell)(3, 4, dtype=torch.float64)
    state = mine.state_dict()
    theirs.load_state_dict({k: 2.5 * v if "weight_hh" in k else v for k, v in state.items()})
    x = torch.randn(SHAPES[make], dtype=torch.float64)
    torch.testing.assert_close(mine(x), theirs(x))
    assert not gains(mine)
    assert "gain=2.5" in repr(mine)
    assert "gain" not in repr(make(3, 4))
    assert "gain=1.0, learn_gain=True" in repr(make(3, 4, learn_gain=True))


@both
def test_a_learned_gain_has_a_gradient_of_its_own(make):
    module = make(3, 4, nonlinearity="tanh", gain=1.5, learn_gain=True, dtype=torch.float64)
    (name,) = gains(module)
    assert name == ("gain_hh" if make is OrthoRNNCell else "gain_hh_l0")
    x = torch.randn(SHAPES[make], dtype=torch.float64)

    def run(g):
        return torch.func.functional_call(module, {name: g}, (x,))[0]

    assert torch.autograd.gradcheck(run, torch.tensor(1.5).double().requires_grad_())
    torch.testing.assert_close(run(torch.tensor(1.5).double()), module(x)[0])
    with torch.no_grad():
        gains(module)[name].fill_(3)
    module.reset_parameters()
    assert gains(module)[name] == 1.5
    assert orthogonality_error(module) < 1e-12


def test_every_layer_and_direction_learns_its_own():
    rnn = OrthoRNN(3, 4, num_layers=2, bidirectional=True, gain=2, learn_gain=True)
    names = [f"gain_hh_l{layer}{end}" for layer in (0, 1) for end in ("", "_reverse")]
    assert list(gains(rnn)) == names
    rnn(torch.randn(5, 2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in gains(rnn).values())
    other = OrthoRNN(3, 4, num_layers=2, bidirectional=True, gain=2, learn_gain=True)
    other.load_state_dict(rnn.state_dict())
    x = torch.randn(5, 2, 3)
    torch.testing.assert_close(other(x), rnn(x))
    assert rnn.half()(x.half())[0].dtype == torch.float16


@both
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gain": 0}, ValueError, "gain must be a finite number > 0, got 0"),
        ({"gain": float("inf")}, ValueError, "gain must be a finite number > 0, got inf"),
        ({"gain": "2"}, TypeError, "gain must be a number, got '2'"),
        ({"learn_gain": 1}, TypeError, "learn_gain must be True or False, got 1"),
    ],
)
def test_what_is_no_gain_is_refused(make, options, error, message):
    with pytest.raises(error, match=message):
        make(3, 4, **options)


def test_a_gain_above_one_latches_where_an_orthogonal_step_cannot():
    """Two states that must stay apart: a small error is corrected, or carried on for ever."""
    for gain, corrected in ((2.0, True), (1.0, False)):
        nonlinearity = "tanh" if corrected else "identity"
        rnn = OrthoRNN(1, 1, nonlinearity=nonlinearity, gain=gain, init="identity", bias=False)
        x = torch.zeros(50, 1, 1)
        _, end = rnn(x, torch.tensor([[[0.9]]]))
        _, disturbed = rnn(x, torch.tensor([[[0.7]]]))
        error = (end - disturbed).abs().item()
        assert (error < 1e-6) == corrected
        assert end.abs() > 0.5
