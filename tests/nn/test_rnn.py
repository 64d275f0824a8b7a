"""OrthoRNN against torch.nn.RNN, which is the oracle of its contract: numbers and structure."""

import itertools

import geoopt
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from orthornn import OrthoRNN, OrthoRNNCell, Stiefel
from orthornn.diagnostics import orthogonality_error
from orthornn.init import INITIALIZERS
from orthornn.manifolds.retractions import RETRACTIONS
from orthornn.recurrence.elman.nonlinearity import NONLINEARITIES
from tests.nn.cases import every_network, every_transition
from tests.peers import every_layer, h0_of, pair


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("given_h0", [False, True])
def test_output_state_and_gradients_equal_torch(
    nonlinearity, num_layers, bidirectional, bias, batch_first, given_h0
):
    ours, theirs = pair(
        nonlinearity,
        num_layers=num_layers,
        bidirectional=bidirectional,
        bias=bias,
        batch_first=batch_first,
    )
    h0 = h0_of(ours, 2) if given_h0 else None
    x = torch.randn((2, 7, 3) if batch_first else (7, 2, 3), dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        inputs = [a.clone().requires_grad_() for a in (x, h0) if a is not None]
        output, h_n = module(*inputs)
        (output.sin().sum() + h_n.cos().sum()).backward()
        weights = [p.grad for p in module.parameters()]
        results.append([output, h_n, *weights, *(a.grad for a in inputs)])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_unbatched_input_equals_torch(bidirectional):
    ours, theirs = pair(bidirectional=bidirectional)
    x = torch.randn(7, 3, dtype=torch.float64)
    for arguments in ((x,), (x, h0_of(ours))):
        torch.testing.assert_close(ours(*arguments), theirs(*arguments))


@pytest.mark.parametrize("nonlinearity", sorted(NONLINEARITIES))
def test_output_follows_the_formula(nonlinearity):
    rnn = OrthoRNN(3, 4, nonlinearity=nonlinearity, dtype=torch.float64)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    s, h = NONLINEARITIES[nonlinearity], torch.zeros(2, 4, dtype=torch.float64)
    bias = [rnn.modrelu_bias_l0] if s.has_bias else []
    for t in range(6):
        z = x[t] @ rnn.weight_ih_l0.T + h @ rnn.weight_hh_l0.T + rnn.bias_ih_l0 + rnn.bias_hh_l0
        h = s.apply(z, *bias)
    torch.testing.assert_close(rnn(x)[1][0], h)


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_recurrent_weight_is_a_point_of_the_chosen_manifold(init, retraction):
    for module in (
        OrthoRNN(3, 6, 2, bidirectional=True, init=init, retraction=retraction),
        OrthoRNNCell(3, 6, init=init, retraction=retraction),
    ):
        points = [p for n, p in module.named_parameters() if n.startswith("weight_hh")]
        assert all(isinstance(p, geoopt.ManifoldParameter) for p in points)
        assert all(isinstance(p.manifold, Stiefel) for p in points)
        assert all(p.manifold.retraction == retraction for p in points)
        assert orthogonality_error(module) < 1e-5
        nn.init.zeros_(points[0])
        module.reset_parameters()
        assert orthogonality_error(module) < 1e-5


def test_kaiming_input_weights_and_small_biases():
    rnn = OrthoRNN(50, 400)
    assert rnn.weight_ih_l0.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.05)
    assert rnn.modrelu_bias_l0.abs().max() <= 0.01
    assert rnn.bias_ih_l0.abs().max() <= 0.01


def test_pieces_with_carried_state_equal_the_whole():
    rnn = OrthoRNN(3, 5, num_layers=2, dtype=torch.float64)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    whole, last = rnn(x)
    first, state = rnn(x[:4])
    second, state = rnn(x[4:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole)
    torch.testing.assert_close(state, last)


def test_dropout_acts_between_layers_in_training_only():
    rnn = OrthoRNN(3, 5, num_layers=2, dropout=0.5)
    x = torch.randn(4, 2, 3)
    assert not torch.equal(rnn(x)[0], rnn(x)[0])
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_of_one_seed_equals_torch(batch_first, num_layers, bidirectional):
    ours, theirs = pair(
        num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, dropout=0.4
    )
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    results = []
    for module in (ours, theirs):
        torch.manual_seed(1)
        results.append(module(x))
    torch.testing.assert_close(*results)


@every_layer
def test_dropout_can_be_changed_after_construction(make):
    module = make(3, 5, num_layers=2)
    x = torch.randn(4, 2, 3)
    plain = module(x)[0]
    module.dropout = 1.0
    assert not torch.equal(module(x)[0], plain)
    module.eval()
    assert torch.equal(module(x)[0], plain)
    module.train().dropout = 1.5
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        module(x)


@every_network
@pytest.mark.parametrize("given_state", [False, True])
def test_batches_in_either_axis_order_and_single_sequences(make, given_state):
    module, x = make(3, 5, dtype=torch.float64), make.draw(7, 2, dtype=torch.float64)
    other = make(3, 5, batch_first=True, dtype=torch.float64)
    other.load_state_dict(module.state_dict())
    h = [make.draw_state(2, dtype=torch.float64)] if given_state else []
    output, h_n = module(x, *h)
    assert (output.shape, h_n.shape) == ((7, 2, 5), (1, 2, 5))
    torch.testing.assert_close(output[-1:], h_n)
    swapped, state = other(x.transpose(0, 1), *h)
    torch.testing.assert_close((swapped.transpose(0, 1), state), (output, h_n))
    for b, one in enumerate(x.unbind(1)):
        single = [a[:, b] for a in h]
        for network in (module, other):
            alone, last = network(one, *single)
            torch.testing.assert_close((alone, last), (output[:, b], h_n[:, b]))


@every_transition
@pytest.mark.parametrize("batch", [(1, 1), (1, 2), (7, 1), (4, 0)], ids=str)
def test_smallest_batches_of_a_transition(make, batch):
    for hidden_size in (1, 2):
        module = make(3, hidden_size)
        output, h_n = module(make.draw(*batch))
        assert output.shape == (*batch, hidden_size)
        assert h_n.shape == (1, batch[1], hidden_size)
        (output.sum() + h_n.sum()).backward()
        assert all(p.grad.shape == p.shape for p in module.parameters())


@every_transition
def test_inputs_of_a_transition_in_any_memory_layout(make):
    module, x, h0 = make(3, 5), make.draw(6, 4), make.draw_state(4)
    expected = module(x, h0)
    spread = torch.stack([x, x], -1)[..., 0]
    for view in (
        (x.transpose(0, 1).contiguous().transpose(0, 1), h0),
        (spread, h0.mT.contiguous().mT),
    ):
        torch.testing.assert_close(module(*view), expected)
    one, many = x[:1, :1], torch.zeros(1, 4, 5)
    wide = one.expand(6, 4, *one.shape[2:])
    torch.testing.assert_close(
        module(wide, many[:, :1].expand(1, 4, 5)), module(wide.contiguous(), many)
    )


@every_transition
def test_pieces_of_a_transition_with_carried_state_equal_the_whole(make):
    module, x = make(3, 5, dtype=torch.float64), make.draw(9, 2, dtype=torch.float64)
    whole, last = module(x)
    first, state = module(x[:4])
    second, state = module(x[4:], state)
    torch.testing.assert_close((torch.cat((first, second)), state), (whole, last))


@every_network
def test_hooks_and_subclasses_of_a_network_see_one_call(make):
    calls, module = [], make(3, 5)
    module.register_forward_hook(lambda *_: calls.append(1))
    module(make.draw(4))
    module(make.draw(4, 2))
    assert len(calls) == 2


@every_layer
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 2, 3), (7, 1, 3), (4, 0, 3)], ids=str)
def test_smallest_batches(make, shape):
    module = make(3, 1, num_layers=2, bidirectional=True)
    x = torch.randn(shape, requires_grad=True)
    output, h_n = module(x)
    assert output.shape == (*shape[:2], 2)
    assert h_n.shape == (4, shape[1], 1)
    (output.sum() + h_n.sum()).backward()
    assert x.grad.shape == shape


@every_layer
def test_inputs_in_any_memory_layout(make):
    module = make(3, 5, num_layers=2, bidirectional=True)
    x, h0 = torch.randn(6, 4, 3), torch.randn(4, 4, 5)
    expected = module(x, h0)
    views = {
        "transposed": (x.transpose(0, 1).contiguous().transpose(0, 1), h0),
        "strided": (torch.randn(6, 4, 6)[..., ::2].copy_(x), h0.mT.contiguous().mT),
    }
    for view in views.values():
        torch.testing.assert_close(module(*view), expected)
    one, many = torch.randn(1, 1, 3), torch.zeros(4, 1, 5)
    torch.testing.assert_close(
        module(one.expand(6, 4, 3), many.expand(4, 4, 5)),
        module(one.repeat(6, 4, 1), many.repeat(1, 4, 1)),
    )


@every_layer
def test_the_state_of_a_recurrent_module_of_torch(make):
    module = make(3, 5, 2, bias=False, batch_first=True, dropout=0.25, bidirectional=True)
    assert isinstance(module, nn.RNNBase)
    assert module.flatten_parameters() is None
    names = ["weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse"]
    first = itertools.chain(*module.all_weights[:2])
    assert all(p is getattr(module, n) for n, p in zip(names, first, strict=True))
    assert [id(p) for p in module._flat_weights] == [
        id(p) for layer in module.all_weights for p in layer
    ]
    kept = "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size"
    assert [getattr(module, name) for name in kept.split()] == [3, 5, 2, False, True, 0.25, True, 0]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_mode_is_torch_s_where_the_nonlinearity_is(nonlinearity):
    assert OrthoRNN(3, 5, nonlinearity=nonlinearity).mode == nn.RNN(3, 5, 1, nonlinearity).mode
    assert OrthoRNN(3, 5).mode == "RNN_MODRELU"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_counted_operations_are_torch_s(bidirectional):
    x, counts = torch.randn(6, 2, 3, dtype=torch.float64), []
    for module in pair(bidirectional=bidirectional):
        with FlopCounterMode(display=False) as counter:
            module(x)[0].sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@every_layer
def test_hooks_and_subclasses_see_one_call(make):
    calls = []
    module = make(3, 5)
    module.register_forward_hook(lambda *_: calls.append(1))
    module(torch.randn(4, 3))
    module(torch.randn(4, 2, 3))
    assert len(calls) == 2


def test_a_subclass_that_wraps_forward_is_called_once():
    class Doubled(OrthoRNN):
        def forward(self, input, hx=None):
            output, h_n = super().forward(input, hx)
            return 2 * output, h_n

    rnn = Doubled(3, 5)
    x = torch.randn(4, 3)
    torch.testing.assert_close(rnn(x)[0], rnn(x.unsqueeze(1))[0].squeeze(1))
    torch.testing.assert_close(rnn(x)[0], 2 * OrthoRNN.forward(rnn, x)[0])


def test_repr_shows_the_options():
    text = repr(OrthoRNN(3, 5, num_layers=2, init="haar"))
    assert text == (
        "OrthoRNN(3, 5, num_layers=2, nonlinearity=modrelu, init=haar, retraction=polar)"
    )
    assert repr(OrthoRNN(3, 5, backend="autograd")).endswith("backend=autograd)")
