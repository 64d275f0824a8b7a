"""ElmanRNN: torch.nn.RNN's contract with plain weights, also behind a parametrization."""

import copy

import pytest
import torch
from geoopt import ManifoldParameter
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN
from orthornn.nn import ElmanRNN

SHAPE = {"num_layers": 2, "bidirectional": True}


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_it_computes_what_torch_computes(nonlinearity):
    rnn = ElmanRNN(3, 5, nonlinearity=nonlinearity, **SHAPE)
    peer = nn.RNN(3, 5, nonlinearity=nonlinearity, **SHAPE)
    peer.load_state_dict(rnn.state_dict())
    x = torch.randn(7, 2, 3)
    torch.testing.assert_close(rnn(x), peer(x))
    packed = pack_sequence([torch.randn(4, 3), torch.randn(6, 3)], enforce_sorted=False)
    torch.testing.assert_close(rnn(packed)[0].data, peer(packed)[0].data)


@pytest.mark.parametrize("nonlinearity", ["modrelu", "tanh"])
def test_it_starts_as_orthornn_draw_for_draw(nonlinearity):
    states = []
    for cls in (ElmanRNN, OrthoRNN):
        torch.manual_seed(3)
        states.append(cls(3, 5, nonlinearity=nonlinearity, init="haar", **SHAPE).state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_its_weights_are_plain_and_free_to_leave_the_manifold():
    rnn = ElmanRNN(3, 5)
    assert isinstance(rnn, nn.RNNBase)
    assert not any(isinstance(p, ManifoldParameter) for p in rnn.parameters())
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(2)
    rnn(torch.randn(4, 2, 3))  # without an OffManifoldWarning


def test_a_parametrized_weight_outlives_a_change_of_dtype_and_a_copy():
    rnn = parametrizations.orthogonal(ElmanRNN(3, 5), "weight_hh_l0").double()
    twin = copy.deepcopy(rnn)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert torch.equal(twin(x)[0], rnn(x)[0])
    twin(x)[0].sum().backward()
    assert twin.parametrizations.weight_hh_l0.original.grad.norm() > 0


def test_repr_shows_the_options():
    assert repr(ElmanRNN(3, 5, init="haar", backend="autograd")) == (
        "ElmanRNN(3, 5, nonlinearity=modrelu, init=haar, backend=autograd)"
    )


def test_it_names_the_backend_of_half_precision():
    rnn, x = ElmanRNN(3, 8), torch.zeros(20, 4, 3)
    expected = rnn.backend_for(x)
    assert rnn.bfloat16().backend_for(x.bfloat16()) == expected
