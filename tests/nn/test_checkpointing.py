"""Training in segments of time: the same numbers in less memory."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from orthornn import OrthoRNN, in_segments
from tests.nn.cases import every_network, every_transition

KINDS = {
    "OrthoRNN": lambda **options: OrthoRNN(3, 8, **options),
    "RNN": lambda **options: nn.RNN(3, 8, **options),
    "LSTM": lambda **options: nn.LSTM(3, 8, **options),
}


def results(function, module, readout, x):
    x.grad = None
    output, state = function(x)
    states = state if isinstance(state, tuple) else (state,)
    loss = output.sin().sum() + sum(s.cos().sum() for s in states)
    parameters = [*module.parameters(), *readout.parameters()]
    return output, state, torch.autograd.grad(loss, [x, *parameters])


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("steps", [None, 1, 5, 30, 31])
def test_outputs_states_and_gradients_are_those_of_the_whole(make, batch_first, steps):
    rnn = make(num_layers=2, batch_first=batch_first).double()
    readout = nn.Linear(8, 2).double()
    x = torch.randn(30, 4, 3, dtype=torch.float64)
    x = (x.transpose(0, 1) if batch_first else x).contiguous().requires_grad_()

    def whole(x):
        h, state = rnn(x)
        return readout(h), state

    def parts(x):
        return in_segments(rnn, x, read=readout, steps=steps)

    torch.testing.assert_close(results(parts, rnn, readout, x), results(whole, rnn, readout, x))


@every_network
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batch", [(), (4,)], ids=str)
def test_inputs_of_every_network_are_cut_along_time(make, batch_first, batch):
    module = make(3, 5, batch_first=batch_first, dtype=torch.float64)
    x, y = make.draw(30, *batch, dtype=torch.float64), torch.randn(30, *batch, dtype=torch.float64)
    if batch_first and batch:
        x, y = x.transpose(0, 1), y.transpose(0, 1)

    def losses(h, y):
        return h.sin().sum(-1) * y

    output, h_n = module(x)
    parts, last = in_segments(module, x, read=losses, along=[y])
    torch.testing.assert_close((parts, last), (losses(output, y), h_n))
    parameters = list(module.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(parts.sum() + last.cos().sum(), parameters),
        torch.autograd.grad(losses(output, y).sum() + h_n.cos().sum(), parameters),
    )


@every_transition
def test_inputs_with_other_axes_are_refused(make):
    least = 1 if make.takes_tokens else 2
    with pytest.raises(ValueError, match=f"{least} or {least + 1} dimensions, got {least + 2}"):
        in_segments(make(), make.draw(5, 2, 1))


def test_the_state_goes_in_and_comes_out_without_any_output():
    rnn = OrthoRNN(3, 8)
    x, h0 = torch.randn(20, 2, 3), torch.randn(1, 2, 8, requires_grad=True)
    nothing, h = in_segments(rnn, x, h0)
    assert nothing is None
    torch.testing.assert_close(h, rnn(x, h0)[1])
    torch.testing.assert_close(
        torch.autograd.grad(h.sum(), h0), torch.autograd.grad(rnn(x, h0)[1].sum(), h0)
    )


@pytest.mark.parametrize("batch_first", [False, True])
def test_what_goes_along_is_cut_like_the_input(batch_first):
    rnn = OrthoRNN(3, 8, batch_first=batch_first)
    x, target = torch.randn(20, 5, 3), torch.randint(8, (20, 5))
    if batch_first:
        x, target = x.transpose(0, 1), target.T

    def losses(h, y):
        found = nn.functional.cross_entropy(h.flatten(0, 1), y.flatten(), reduction="none")
        return found.view(y.shape)

    found, _ = in_segments(rnn, x, read=losses, along=[target], steps=6)
    torch.testing.assert_close(found, losses(rnn(x)[0], target))
    for wrong, came in ((target[:3, :4], "the shape"), (3, "int")):
        with pytest.raises(ValueError, match=f"tensors with 20 steps in axis ., got {came}"):
            in_segments(rnn, x, read=losses, along=[wrong])


def test_unbatched_input_and_no_gradient():
    rnn, x = OrthoRNN(3, 8, batch_first=True), torch.randn(17, 3)
    with torch.no_grad():
        output, h = in_segments(rnn, x, read=lambda h: 2 * h)
    torch.testing.assert_close((output / 2, h), rnn(x))


def test_dropout_between_layers_falls_the_same_when_it_runs_again():
    rnn = OrthoRNN(3, 8, num_layers=2, dropout=0.5).double()
    x = torch.randn(30, 4, 3, dtype=torch.float64, requires_grad=True)

    def loss(x):
        torch.manual_seed(1)
        return in_segments(rnn, x, read=torch.sin)[0].sum()

    assert torch.autograd.gradcheck(loss, x[:3].detach().requires_grad_())


def test_no_more_than_a_segment_of_states_is_kept():
    rnn, x = OrthoRNN(3, 8), torch.randn(400, 2, 3)
    sizes = []

    def keep(a):
        sizes.append(a.numel())
        return a

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda a: a):
        in_segments(rnn, x, steps=20)
    assert max(sizes, default=0) <= 20 * 2 * 8


def test_what_cannot_be_cut_is_refused():
    x = torch.randn(5, 2, 3)
    with pytest.raises(ValueError, match="bidirectional must be False, got True"):
        in_segments(OrthoRNN(3, 8, bidirectional=True), x)
    with pytest.raises(TypeError, match="takes a tensor, got PackedSequence"):
        in_segments(OrthoRNN(3, 8), pack_sequence([x[0]]))
    with pytest.raises(ValueError, match="2 or 3 dimensions, got 4"):
        in_segments(OrthoRNN(3, 8), x.unsqueeze(0))
    for steps in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f"steps must be None or an int .* got {steps}"):
            in_segments(OrthoRNN(3, 8), x, steps=steps)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (3, "read must be None or callable, got 3"),
        (lambda h: 1.0, "read must give a tensor with time in axis 0, got float"),
        (lambda h: h.sum(), "read must give a tensor with time in axis 0, got a number"),
    ],
)
def test_what_reads_nothing_with_time_is_refused(read, message):
    with pytest.raises(TypeError, match=message):
        in_segments(OrthoRNN(3, 8), torch.randn(20, 2, 3), read=read)
